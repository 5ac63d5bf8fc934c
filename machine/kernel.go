package machine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// openKernel opens the kernel and checks that it is one. QEMU takes any bytes
// for a kernel of Linux 2.0 and lets the firmware run them, which looks like a
// hang.
func openKernel(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, configError("kernel", "%w", err)
	}
	if err := checkKernel(f); err != nil {
		f.Close()
		return nil, configError("kernel", "%s: %w", path, err)
	}
	return f, nil
}

// Offsets in a bzImage, from Documentation/x86/boot.txt.
const (
	bzImageMagicAt   = 0x202
	bzImageVersionAt = 0x206
	bzImagePrefAt    = 0x258 // pref_address, 64 bits, since protocol 2.10
	bzImageInitAt    = 0x260 // init_size, 32 bits, since protocol 2.10
)

func checkKernel(r io.ReaderAt) error {
	head := make([]byte, bzImageVersionAt+2)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return nil
	case len(head) < bzImageVersionAt+2, string(head[bzImageMagicAt:bzImageMagicAt+4]) != "HdrS":
		return errors.New("not a Linux kernel that can be booted (neither a bzImage nor ELF)")
	}
	// Protocol 2.02, of Linux 2.4.0-test3, is the first with a command line
	// that is not in the way of the kernel.
	if v := binary.LittleEndian.Uint16(head[bzImageVersionAt:]); v < 0x202 {
		return fmt.Errorf("boot protocol %d.%02d is older than 2.02", v>>8, v&0xff)
	}
	return nil
}

// kernelFloor is the memory, in bytes, below which a bzImage cannot even unpack
// itself: it does so at pref_address or above, and needs init_size there
// (Documentation/x86/boot.txt). With less it overwrites itself or runs off the
// end, and the machine resets without a word: Linux 2.6.32 does with 20 MiB and
// runs with 24. It is 0 for a kernel that does not tell.
func kernelFloor(r io.ReaderAt) int64 {
	head := make([]byte, bzImageInitAt+4)
	if _, err := r.ReadAt(head, 0); err != nil || bytes.HasPrefix(head, []byte("\x7fELF")) {
		return 0
	}
	if binary.LittleEndian.Uint16(head[bzImageVersionAt:]) < 0x20a {
		return 0
	}
	at := binary.LittleEndian.Uint64(head[bzImagePrefAt:])
	if at > 1<<40 {
		return 0
	}
	return int64(at) + int64(binary.LittleEndian.Uint32(head[bzImageInitAt:]))
}
