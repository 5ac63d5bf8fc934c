package machine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// What kernels were seen to print, or print by their source, and the verdict.
func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		console string
		kind    Kind
		line    string
		over    bool
	}{
		"2.6.32 init exits": {`Freeing unused kernel memory: 424k freed
Kernel panic - not syncing: Attempted to kill init!
Pid: 1, comm: init Not tainted 2.6.32.71 #1`, InitDied, "Kernel panic - not syncing: Attempted to kill init!", true},
		"6.1 init exits": {`[    1.5] Run /init as init process
[    1.6] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300
[    1.7] ---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300 ]---`, InitDied, "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300", true},
		"our init says why": {`runv-init: panic: mount /proc: no such device
[    1.6] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100`, InitDied, "runv-init: panic: mount /proc: no such device", true},
		"a Go init crashes": {`panic: runtime error: index out of range
goroutine 1 [running]:
Kernel panic - not syncing: Attempted to kill init!`, InitDied, "panic: runtime error: index out of range", true},
		"2.6.32 without /init": {`VFS: Cannot open root device "(null)" or unknown-block(0,0)
Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)`, NoInit, "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", true},
		"6.1 without /init": {`[    1.2] check access for rdinit=/init failed: -2, ignoring
[    1.3] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)`, NoInit, "check access for rdinit=/init failed: -2, ignoring", true},
		"2.6.32 cannot run /init": {`Failed to execute /init
Kernel panic - not syncing: No init found.  Try passing init= option to kernel.`, NoInit, "Failed to execute /init", true},
		"6.1 cannot run /init": {`[    1.2][    T1] Failed to execute /init (error -8)
[    1.3][    T1] Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.`, NoInit, "Failed to execute /init (error -8)", true},
		"initrd too large, 2.6.32": {`initrd too large to handle, disabling initrd
Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)`, Memory, "initrd too large to handle, disabling initrd", true},
		"no room for the initrd": {`Initramfs unpacking failed: write error
Kernel panic - not syncing: No init found.  Try passing init= option to kernel.`, Memory, "Initramfs unpacking failed: write error", true},
		"damaged initrd": {`Initramfs unpacking failed: junk in compressed archive
Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)`, NoInit, "Initramfs unpacking failed: junk in compressed archive", true},
		"out of memory": {`init invoked oom-killer: gfp_mask=0x280da, order=0, oom_adj=0
Kernel panic - not syncing: Out of memory and no killable processes...`, Memory, "init invoked oom-killer: gfp_mask=0x280da, order=0, oom_adj=0", true},
		"oops": {`<1>[   11.0] BUG: unable to handle kernel NULL pointer dereference at (null)
[   11.1] Kernel panic - not syncing: Fatal exception`, Panic, "BUG: unable to handle kernel NULL pointer dereference at (null)", true},
		"other panic": {`Kernel panic - not syncing: IO-APIC + timer doesn't work!`, Panic, "Kernel panic - not syncing: IO-APIC + timer doesn't work!", true},
		"recovered":   {"init invoked oom-killer: x\n" + strings.Repeat("fine\n", signMemory+1) + "Kernel panic - not syncing: hung_task: blocked tasks", Panic, "Kernel panic - not syncing: hung_task: blocked tasks", true},
		"a program quotes a panic": {`cat: # Kernel panic - not syncing: Attempted to kill init!
I do not panic: no`, "", "", false},
		"still booting": {"Linux version 2.6.32.71\nCalibrating delay loop", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			j := judge{signs: signs()}
			over := false
			for line := range strings.SplitSeq(c.console, "\n") {
				over = j.see(line) || over
			}
			got := j.verdict(nil)
			if got == nil {
				got = &BootError{}
			}
			if got.Kind != c.kind || got.Line != c.line || over != c.over {
				t.Errorf("got %q: %q, over %t\nwant %q: %q, over %t", got.Kind, got.Line, over, c.kind, c.line, c.over)
			}
		})
	}
}

func ExampleBootError() {
	err := fmt.Errorf("boot demo:1: %w", &BootError{
		Kind:    NoInit,
		Line:    "Failed to execute /init",
		Why:     "the kernel could not run the program",
		Console: []string{"Freeing unused kernel memory: 424k freed", "Failed to execute /init"},
	})
	fmt.Println(err)
	var dead *BootError
	if errors.As(err, &dead) && dead.Kind == NoInit {
		fmt.Println(dead.Detail())
	}
	// Output:
	// boot demo:1: guest: no init: Failed to execute /init (the kernel could not run the program)
	// guest: no init: Failed to execute /init (the kernel could not run the program)
	// Last 2 console lines:
	//   Freeing unused kernel memory: 424k freed
	//   Failed to execute /init
}

func TestBootErrorWithoutConsole(t *testing.T) {
	if got := (&BootError{Kind: NoConsole}).Detail(); got != "guest: no console\nThe console is empty." {
		t.Errorf("Detail = %q", got)
	}
}
