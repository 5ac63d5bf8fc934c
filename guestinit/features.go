package main

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

// syscallProbes tell a system call that exists from one that does not, by
// arguments that do no harm where it does.
var syscallProbes = []struct {
	feature string
	number  uintptr
	args    [3]uintptr
}{
	{"prlimit", 302, [3]uintptr{^uintptr(0), 0, 0}},                 // 2.6.36
	{"syncfs", 306, [3]uintptr{^uintptr(0), 0, 0}},                  // 2.6.39
	{"setns", 308, [3]uintptr{^uintptr(0), 0, 0}},                   // 3.0
	{"finit-module", sysFinitModule, [3]uintptr{^uintptr(0), 0, 0}}, // 3.8
	{"getrandom", 318, [3]uintptr{0, 0, 0}},                         // 3.17
	{"memfd", 319, [3]uintptr{0, 0, 0}},                             // 3.17
	{"pidfd", 434, [3]uintptr{^uintptr(0), 0, 0}},                   // 5.3
	{"clone3", 435, [3]uintptr{0, 0, 0}},                            // 5.3
	{"openat2", 437, [3]uintptr{^uintptr(0), 0, 0}},                 // 5.6
}

// fileSystems are those of /proc/filesystems that a host asks about.
var fileSystems = []string{
	"9p", "cgroup", "cgroup2", "devtmpfs", "ext2", "ext3", "ext4", "fuse",
	"overlay", "squashfs", "tmpfs", "virtiofs", "xfs",
}

// namespaces by their name in /proc/self/ns, and the flag of clone(2).
var namespaces = []struct {
	name string
	flag uintptr
}{
	{"ipc", syscall.CLONE_NEWIPC}, {"mnt", syscall.CLONE_NEWNS}, {"net", syscall.CLONE_NEWNET},
	{"pid", syscall.CLONE_NEWPID}, {"uts", syscall.CLONE_NEWUTS},
}

func probeFeatures() []string {
	var found []string
	add := func(name string, ok bool) {
		if ok {
			found = append(found, name)
		}
	}
	for _, p := range syscallProbes {
		_, _, errno := syscall.Syscall(p.number, p.args[0], p.args[1], p.args[2])
		add(p.feature, errno != syscall.ENOSYS)
	}
	known := knownFileSystems("/proc/filesystems")
	for _, fs := range fileSystems {
		add(fs, slices.Contains(known, fs))
	}
	for _, c := range enabledCgroups("/proc/cgroups") {
		add("cgroup:"+c, true)
	}
	found = append(found, probeNamespaces()...)
	found = append(found, probePrctl()...)
	add("at-empty-path", hasEmptyPath())
	add("devpts-newinstance", exists("/dev/pts/ptmx"))
	add("modules", exists("/proc/modules"))
	add("o-path", hasOPath())
	add("virtio-ports", exists("/sys/class/virtio-ports"))
	add("vsock", hasVsock())
	slices.Sort(found)
	return found
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func knownFileSystems(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var names []string
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 0 {
			names = append(names, f[len(f)-1])
		}
	}
	return names
}

// enabledCgroups reads name, hierarchy, number and enabled of each controller.
func enabledCgroups(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var names []string
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) == 4 && f[0][0] != '#' && f[3] == "1" {
			names = append(names, f[0])
		}
	}
	return names
}

// probeNamespaces trusts /proc/self/ns (3.0, complete since 3.8). Older
// kernels are asked to clone into the namespaces: a program that does not
// exist then fails with ENOENT in them, and the clone with EINVAL without.
func probeNamespaces() []string {
	var found []string
	for _, ns := range namespaces {
		if exists("/proc/self/ns/"+ns.name) || canClone(ns.flag) {
			found = append(found, "ns:"+ns.name)
		}
	}
	for _, name := range []string{"cgroup", "time"} {
		if exists("/proc/self/ns/" + name) {
			found = append(found, "ns:"+name)
		}
	}
	// CLONE_NEWUSER itself is a stub before 3.8: what counts is the mapping.
	if exists("/proc/self/uid_map") {
		found = append(found, "ns:user")
	}
	return found
}

func canClone(flag uintptr) bool {
	_, err := syscall.ForkExec("/.none", []string{"none"}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{Cloneflags: flag},
	})
	return err == syscall.ENOENT
}

const ( // include/uapi/linux/prctl.h
	prGetSeccomp      = 21
	prSetSeccomp      = 22
	prGetSubreaper    = 37
	prGetNoNewPrivs   = 39
	seccompModeFilter = 2
	atEmptyPath       = 0x1000
	oPath             = 0x200000
	afVsock           = 40
)

func probePrctl() []string {
	prctl := func(a, b, c uintptr) syscall.Errno {
		_, _, errno := syscall.Syscall6(syscall.SYS_PRCTL, a, b, c, 0, 0, 0)
		return errno
	}
	var found []string
	if prctl(prGetSeccomp, 0, 0) == 0 {
		found = append(found, "seccomp")
	}
	// A filter at address 0: EFAULT where filters are known, EINVAL elsewhere.
	if prctl(prSetSeccomp, seccompModeFilter, 0) == syscall.EFAULT {
		found = append(found, "seccomp-filter")
	}
	var is int32
	if prctl(prGetSubreaper, uintptr(unsafe.Pointer(&is)), 0) == 0 {
		found = append(found, "subreaper")
	}
	if prctl(prGetNoNewPrivs, 0, 0) == 0 {
		found = append(found, "no-new-privs")
	}
	return found
}

// hasEmptyPath: 2.6.39; glibc 2.33 and later need it for fstat.
func hasEmptyPath() bool {
	var st syscall.Stat_t
	empty := [1]byte{}
	_, _, errno := syscall.Syscall6(syscall.SYS_NEWFSTATAT, 0,
		uintptr(unsafe.Pointer(&empty)), uintptr(unsafe.Pointer(&st)), atEmptyPath, 0, 0)
	return errno == 0
}

// hasOPath: an older kernel ignores the flag, though it reports it back, and
// opens the folder really: reading it is then EISDIR, and not EBADF.
func hasOPath() bool {
	fd, err := syscall.Open("/", oPath|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	_, err = syscall.Read(fd, make([]byte, 1))
	return err == syscall.EBADF
}

func hasVsock() bool {
	fd, err := syscall.Socket(afVsock, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	syscall.Close(fd)
	return true
}

// guestInfo is what Hello says.
func guestInfo(channel string, modules, warnings []string) *protocol.GuestInfo {
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		warnings = append(warnings, "uname: "+err.Error())
	}
	mem, err := readMeminfo("/proc/meminfo")
	if err != nil {
		warnings = append(warnings, err.Error())
	}
	up, err := readUptime("/proc/uptime")
	if err != nil {
		warnings = append(warnings, err.Error())
	}
	return &protocol.GuestInfo{
		Init:    "guestinit " + strconv.Itoa(protocol.MaxVersion) + " " + runtime.Version(),
		Release: charsToString(u.Release[:]), KernelBuild: charsToString(u.Version[:]),
		Arch: charsToString(u.Machine[:]),
		CPUs: countCPUs("/proc/cpuinfo"), MemoryKiB: mem["MemTotal"], Channel: channel,
		Features: probeFeatures(), Modules: modules, Warnings: warnings, UptimeMS: up,
	}
}

// countCPUs does not ask the runtime, which sees its own affinity.
func countCPUs(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return runtime.NumCPU()
	}
	n := strings.Count("\n"+string(b), "\nprocessor")
	return max(n, 1)
}

func charsToString(c []int8) string {
	b := make([]byte, 0, len(c))
	for _, v := range c {
		if v == 0 {
			break
		}
		b = append(b, byte(v))
	}
	return string(b)
}
