package main

import (
	"os"
	"sort"
	"strings"
	"syscall"
	"time"
)

const (
	// killWait is how long killed processes may take to disappear.
	killWait = time.Second
	// powerWait is how long a machine may take to go off. ACPI that does not
	// work leaves the call without effect.
	powerWait = 2 * time.Second
)

// shutDown ends every other process, writes and unmounts file systems, and
// ends the machine. It does not return.
func shutDown(con *console, grace time.Duration, restart bool) {
	if grace > 0 {
		_ = syscall.Kill(-1, syscall.SIGTERM) // ESRCH: nobody is left
		waitAlone(grace)
	}
	_ = syscall.Kill(-1, syscall.SIGKILL)
	waitAlone(killWait)
	syscall.Sync()
	unmountAll()
	syscall.Sync()
	con.chat("power off")
	if !restart {
		err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
		time.Sleep(powerWait)
		con.say("error: power off had no effect (%v); restarting: pass runv.poweroff=reset on a machine without ACPI", err)
	}
	for {
		// The host runs QEMU with -no-reboot, so that this ends it.
		if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART); err != nil {
			con.say("error: restart: %v", err)
		}
		time.Sleep(powerWait)
	}
}

// waitAlone waits until kill(-1) finds nobody; the reaper runs beside it.
func waitAlone(limit time.Duration) {
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		if err := syscall.Kill(-1, 0); err == syscall.ESRCH {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// unmountAll unmounts what can hold data, the latest mount first. What is busy
// is made read-only, which also writes it out.
func unmountAll() {
	for _, m := range dataMounts("/proc/self/mounts") {
		if syscall.Unmount(m, 0) == nil {
			continue
		}
		// Nothing is left to do about one that fails here as well; sync was
		// called.
		_ = syscall.Mount("", m, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	}
}

// memoryOnly are file systems of which nothing outlives the machine.
var memoryOnly = map[string]bool{
	"rootfs": true, "proc": true, "sysfs": true, "devtmpfs": true, "devpts": true,
	"tmpfs": true, "ramfs": true, "cgroup": true, "cgroup2": true, "mqueue": true,
	"debugfs": true, "securityfs": true, "configfs": true, "binfmt_misc": true, "bpf": true,
}

func dataMounts(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var targets []string
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 3 || memoryOnly[f[2]] {
			continue
		}
		targets = append(targets, unescapeMount(f[1]))
	}
	// Children before parents, and of one target the latest first.
	sort.SliceStable(targets, func(i, j int) bool { return len(targets[i]) > len(targets[j]) })
	return targets
}

// unescapeMount undoes the octal escapes of fs/proc_namespace.c (mangle).
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
