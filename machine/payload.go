package machine

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What the payload runs, and how soon it has to be through. Hardware runs a
// two-instruction loop at about a thousand million rounds a second, tcg at 150
// million, kvm under PVM at one.
const (
	payloadLoops        = 5_000_000
	payloadInstructions = 2 * payloadLoops
	// payloadFast is what a run may take on hardware, with a busy host allowed
	// for.
	payloadFast = 250 * time.Millisecond
	// payloadLimit ends a run that is not through.
	payloadLimit = 2 * time.Second
	// payloadStartLimit is for QEMU to come up.
	payloadStartLimit = 10 * time.Second
)

// I/O ports of QEMU's isa-debugcon and isa-debug-exit, as given to it below.
const (
	debugconPort  = 0xe9
	debugExitPort = 0xf4
)

// payloadStatus is QEMU's exit status after the payload wrote 0x31 to
// isa-debug-exit, which makes it value<<1 | 1 (hw/misc/debugexit.c).
const payloadStatus = 0x31<<1 | 1

// payloadRun is what was seen of one run.
type payloadRun struct {
	finished bool
	took     time.Duration // from the payload's first instructions to QEMU's end
}

// firmwareSize is the least that QEMU takes for -bios.
const firmwareSize = 64 << 10

// payload is a firmware image, so that nothing but our few instructions runs,
// and the time that a slow kvm needs for SeaBIOS is not in the result. The
// processor starts 16 bytes below its end in real mode (Intel SDM vol. 3,
// 9.1.4); the loop runs in 32-bit protected mode, since kvm interprets real mode
// on processors before Westmere.
func payload(loops uint32) []byte {
	rom := make([]byte, firmwareSize)
	const (
		entry  = 0xff00 // offset in the image, and in the segment 0xf000
		flat   = 0xff40
		gdt    = 0xff80
		gdtPtr = 0xffa0
		reset  = 0xfff0
		linear = 0xf0000 // where the image's copy below 1 MiB is
	)
	// Real mode: load the GDT, set CR0.PE, and jump to the flat segment.
	copy(rom[entry:], []byte{
		0xfa,             // cli
		0xb8, 0x00, 0xf0, // mov ax, 0xf000
		0x8e, 0xd8, // mov ds, ax
		0x66, 0x0f, 0x01, 0x16, gdtPtr & 0xff, gdtPtr >> 8, // lgdt [gdtPtr], 32-bit base
		0x0f, 0x20, 0xc0, // mov eax, cr0
		0x66, 0x83, 0xc8, 0x01, // or eax, 1
		0x0f, 0x22, 0xc0, // mov cr0, eax
		0x66, 0xea, // jmp 8:linear+flat, 32-bit offset
		flat & 0xff, flat >> 8, linear >> 16, 0x00, 0x08, 0x00,
	})
	code := []byte{
		0xb0, 'S', 0xe6, debugconPort, // mov al, 'S'; out debugcon, al
		0xb9, 0, 0, 0, 0, // mov ecx, loops
		0x49,       // dec ecx
		0x75, 0xfd, // jnz to the dec
		0xb0, 0x31, 0xe6, debugExitPort, // mov al, 0x31; out debug-exit, al
		0xf4,       // hlt
		0xeb, 0xfd, // jmp to the hlt
	}
	binary.LittleEndian.PutUint32(code[5:], loops)
	copy(rom[flat:], code)
	// Null, and a flat 32-bit code segment: execute and read, base 0, 4 GiB.
	copy(rom[gdt+8:], []byte{0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0})
	binary.LittleEndian.PutUint16(rom[gdtPtr:], 15)
	binary.LittleEndian.PutUint32(rom[gdtPtr+2:], linear+gdt)
	// jmp 0xf000:entry, which also leaves the reset's odd code segment base.
	copy(rom[reset:], []byte{0xea, entry & 0xff, entry >> 8, 0x00, 0xf0})
	return rom
}

// runPayload runs the payload in a QEMU of its own, which has ended when it
// returns. An error is QEMU's failure, not a slow run.
func runPayload(ctx context.Context, qemu, accel string) (payloadRun, error) {
	return runFirmware(ctx, qemu, accel, payload(payloadLoops))
}

func runFirmware(ctx context.Context, qemu, accel string, image []byte) (run payloadRun, err error) {
	fd, err := unix.MemfdCreate("payload", unix.MFD_CLOEXEC)
	if err != nil {
		return run, fmt.Errorf("memfd_create: %w", err)
	}
	rom := os.NewFile(uintptr(fd), "payload")
	defer rom.Close()
	if _, err := rom.Write(image); err != nil {
		return run, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return run, err
	}
	defer ours.Close()
	defer theirs.Close()

	ctx, cancel := context.WithTimeout(ctx, payloadStartLimit)
	defer cancel()
	stderr := &lastBytes{}
	cmd := exec.CommandContext(ctx, qemu, payloadArgs(accel)...)
	cmd.ExtraFiles = []*os.File{rom, theirs}
	cmd.Stdout, cmd.Stderr = stderr, stderr
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	// See Machine.launch: the thread that forks has to outlive the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	closeFilesOnExec()
	if err := cmd.Start(); err != nil {
		return run, err
	}
	theirs.Close()

	var begin time.Time
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		if _, err := io.ReadFull(ours, make([]byte, 1)); err != nil {
			return
		}
		begin = time.Now()
		// Its end is QEMU's.
		_ = ours.SetReadDeadline(begin.Add(payloadLimit))
		if _, err := ours.Read(make([]byte, 1)); os.IsTimeout(err) {
			cancel()
		}
		run.took = time.Since(begin)
	}()
	waitErr := cmd.Wait()
	<-stop
	if cmd.ProcessState.ExitCode() == payloadStatus {
		run.finished = true
		return run, nil
	}
	if !begin.IsZero() && ctx.Err() != nil {
		return run, nil
	}
	if lines := stderr.lines(); len(lines) > 0 {
		return run, fmt.Errorf("%s (%w)", lines[0], waitErr)
	}
	return run, fmt.Errorf("QEMU: %w", waitErr)
}

func payloadArgs(accel string) []string {
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "pc", "-accel", accel, "-m", "1M", "-bios", fdPath(3),
		"-chardev", "socket,id=signal,fd=4",
		"-device", "isa-debugcon,chardev=signal,iobase=" + strconv.Itoa(debugconPort),
		"-device", "isa-debug-exit,iosize=1,iobase=" + strconv.Itoa(debugExitPort),
	}
}
