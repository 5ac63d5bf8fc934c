package machine

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Kind is what stopped a guest.
type Kind string

// Kinds of [BootError].
const (
	// Panic: the kernel panicked, and none of the kinds below says more.
	Panic Kind = "kernel panic"
	// NoInit: the kernel found no /init that it could run.
	NoInit Kind = "no init"
	// InitDied: process 1 ended, crashed or gave up.
	InitDied Kind = "init died"
	// Memory: the guest's memory does not hold kernel, initrd and init.
	Memory Kind = "not enough memory"
	// NoConsole: neither the console nor the channel said anything in time.
	NoConsole Kind = "no console"
	// Hang: the guest said something, then nothing more, or never the hello.
	Hang Kind = "hang"
	// Reset: the machine was reset with no reason on the console, as after a
	// triple fault.
	Reset Kind = "reset"
	// Ended: the guest shut itself down before its hello.
	Ended Kind = "ended early"
	// QEMU: QEMU itself failed or was killed.
	QEMU Kind = "QEMU failed"
)

// BootError says why a guest did not come up, or how it died later. Use
// [errors.As]:
//
//	var dead *machine.BootError
//	if errors.As(err, &dead) && dead.Kind == machine.Memory {
//		// try again with more
//	}
type BootError struct {
	Kind    Kind
	Line    string   // the console's (for QEMU its standard error's) line that shows it, or what was seen instead
	Why     string   // what the line means, if that is known
	Console []string // the last console lines, oldest first
}

// Error is one line.
func (e *BootError) Error() string {
	text := "guest: " + string(e.Kind)
	if e.Line != "" {
		text += ": " + e.Line
	}
	if e.Why != "" {
		text += " (" + e.Why + ")"
	}
	return text
}

// Detail is the error and the last console lines, one a line.
func (e *BootError) Detail() string {
	var b strings.Builder
	b.WriteString(e.Error())
	if len(e.Console) == 0 {
		b.WriteString("\nThe console is empty.")
		return b.String()
	}
	fmt.Fprintf(&b, "\nLast %d console lines:", len(e.Console))
	for _, line := range e.Console {
		b.WriteString("\n  ")
		b.WriteString(line)
	}
	return b.String()
}

// sign is a console line that tells how a guest fares.
type sign struct {
	pattern *regexp.Regexp
	kind    Kind
	// final: nothing runs in the guest after this line.
	final bool
	// weight settles which of several lines is the cause: the heaviest, and of
	// equals the first.
	weight int
	why    string
}

// Weights: consequence < what was last seen < cause.
const (
	consequence = iota + 1
	evidence
	cause
)

// linePrefix is what printk puts before a message: level (2.6.32, on early
// consoles), time, and with CONFIG_PRINTK_CALLER the caller.
const linePrefix = `^(?:<\d>)?(?:\[ *\d+\.\d+\])?(?:\[ *[TC]\d+\])? ?`

func kernelSays(text string) *regexp.Regexp { return regexp.MustCompile(linePrefix + text) }

// signs are all that is known, most telling first. The texts were read in
// 2.6.32.71 and 6.1 at the places named; kernels between follow one or the other.
var signs = sync.OnceValue(func() []sign {
	return []sign{
		// arch/x86/kernel/setup.c (reserve_initrd): "too large to handle" up to
		// 2.6.38, later the two others, "initrd memory ..." with a panic.
		{kernelSays(`initrd too large to handle`), Memory, false, cause, "the initrd does not fit beside the kernel"},
		{kernelSays(`initrd extends beyond end of memory`), Memory, false, cause, "the initrd does not fit beside the kernel"},
		// init/initramfs.c (do_populate_rootfs) prints the text; "write error"
		// is ENOSPC or ENOMEM of the root tmpfs.
		{kernelSays(`Initramfs unpacking failed: (?:write error|can't allocate)`), Memory, false, cause, "no room to unpack the initrd"},
		// mm/oom_kill.c: out_of_memory() panics so when init is all that is left;
		// the second text since 4.17.
		{kernelSays(`Kernel panic - not syncing: (?:Out of memory|out of memory|System is deadlocked on memory)`), Memory, true, cause, "the kernel found no process left to kill"},
		// mm/oom_kill.c: 2.6.32 "init invoked oom-killer"; the name is the task's.
		{kernelSays(`(?:init|swapper(?:/\d+)?) invoked oom-killer`), Memory, false, cause, "process 1 ran out of memory"},
		// mm/bootmem.c and mm/memblock.c panics, arch/x86/mm/init.c.
		{kernelSays(`Kernel panic - not syncing: .*(?:Failed to allocate \d+ bytes|Cannot find space for the kernel page tables|alloc_low_page: ran out of memory|can't allocate|Cannot allocate)`), Memory, true, cause, "the kernel ran out of memory while it set itself up"},
		// The Go runtime (runtime/malloc.go, mem_linux.go) when process 1 is one.
		{regexp.MustCompile(`^(?:fatal error|runtime): .*(?:out of memory|cannot allocate memory)`), Memory, false, cause, "process 1 ran out of memory"},
		// arch/x86/boot/compressed/misc.c (error), before the kernel proper.
		{regexp.MustCompile(`^(?:Out of memory while allocating|Destination address too large|.*-- System halted)`), Memory, true, evidence, "the decompressor gave up"},

		// init/initramfs.c: any other text means that the archive is bad.
		{kernelSays(`Initramfs unpacking failed: `), NoInit, false, cause, "the initrd is damaged, or packed in a way this kernel cannot read"},
		// The same with CONFIG_BLK_DEV_RAM, which tries it as a disk image next.
		{kernelSays(`rootfs image is not initramfs`), NoInit, false, cause, "the initrd is damaged, or packed in a way this kernel cannot read"},
		// init/main.c (kernel_init_freeable), 5.9 and later.
		{kernelSays(`check access for rdinit=\S+ failed`), NoInit, false, cause, "the initrd has no such file"},
		// init/main.c (kernel_init): the errno is there since 3.17.
		{kernelSays(`Failed to execute /\S+`), NoInit, false, cause, "the kernel could not run the program: is it static, for this architecture, and executable?"},
		// init/main.c; "working" since 4.0, "Requested" since 3.17.
		{kernelSays(`Kernel panic - not syncing: (?:No init found|No working init found|Requested init \S+ failed)`), NoInit, true, evidence, ""},
		// init/do_mounts.c: a kernel that sees no /init in its initramfs goes on
		// to mount a root disk.
		{kernelSays(`Kernel panic - not syncing: VFS: Unable to mount root fs`), NoInit, true, evidence, "the initrd was not there or had no /init, so the kernel looked for a root disk"},

		// guestinit names its own failures before it ends.
		{kernelSays(`runv-init: (?:panic|no channel): `), InitDied, false, cause, ""},
		{kernelSays(`runv-init: error: `), InitDied, false, evidence, ""},
		// The Go runtime's last words, when process 1 is a Go program.
		{regexp.MustCompile(`^(?:panic: |fatal error: )`), InitDied, false, evidence, ""},
		// kernel/exit.c; with the exit code since 2.6.38.
		{kernelSays(`Kernel panic - not syncing: Attempted to kill init`), InitDied, true, consequence, "process 1 ended"},

		// arch/x86/mm/fault.c, kernel/traps.c, lib/bug.c: the oops tells more than
		// the "Fatal exception" that it ends in.
		{kernelSays(`(?:BUG: |kernel BUG at |general protection fault|Oops: |double fault: )`), Panic, false, evidence, ""},
		{kernelSays(`Kernel panic - not syncing: `), Panic, true, evidence, ""},
	}
})

// signMemory is for how many lines a sign that was not final counts. A guest
// that recovers, and dies of something else much later, is judged by the latter.
const signMemory = 500

// judge reads console lines and remembers what they mean.
type judge struct {
	signs []sign
	best  *sign
	line  string
	age   int // lines since line
}

// see takes the next line and reports whether the guest is over with it.
func (j *judge) see(line string) (over bool) {
	j.age++
	if j.best != nil && !j.best.final && j.age > signMemory {
		j.best = nil
	}
	for i := range j.signs {
		s := &j.signs[i]
		if !s.pattern.MatchString(line) {
			continue
		}
		if j.best == nil || s.weight > j.best.weight {
			j.best, j.line, j.age = s, line, 0
		}
		return s.final
	}
	return false
}

// verdict is the error for what was seen, or nil if nothing was.
func (j *judge) verdict(tail []string) *BootError {
	if j.best == nil {
		return nil
	}
	return &BootError{Kind: j.best.kind, Line: trimPrefix(j.line), Why: j.best.why, Console: tail}
}

var prefixPattern = regexp.MustCompile(linePrefix)

func trimPrefix(line string) string {
	return strings.TrimSpace(strings.TrimPrefix(line, prefixPattern.FindString(line)))
}
