package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

// configure gives the guest its identity. Entropy comes first, so that nothing
// random is drawn from a pool that a saved guest shares with its clones.
func configure(p protocol.Configure) error {
	if len(p.Entropy) > 0 {
		if err := addEntropy(p.Entropy); err != nil {
			return err
		}
	}
	if p.TimeUnixNano != 0 {
		tv := syscall.NsecToTimeval(p.TimeUnixNano)
		if err := syscall.Settimeofday(&tv); err != nil {
			return errnoError(err, "set the clock")
		}
	}
	if p.Hostname != "" {
		if err := syscall.Sethostname([]byte(p.Hostname)); err != nil {
			return errnoError(err, fmt.Sprintf("set the hostname %q", p.Hostname))
		}
	}
	names := make([]string, 0, len(p.Sysctls))
	for name := range p.Sysctls {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := setSysctl("/proc/sys", name, p.Sysctls[name]); err != nil {
			return err
		}
	}
	return nil
}

// rndAddEntropy is _IOW('R', 0x03, int[2]), include/uapi/linux/random.h: it
// mixes bytes in and credits them, which a write to the device does not.
const rndAddEntropy = 0x40085203

func addEntropy(seed []byte) error {
	if len(seed) > 4096 {
		return callError(protocol.CodeTooLarge, "entropy: over 4096 bytes")
	}
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return errnoError(err, "add entropy")
	}
	defer f.Close()
	pool := struct {
		bits, size int32
		data       [4096]byte
	}{bits: int32(len(seed) * 8), size: int32(len(seed))}
	copy(pool.data[:], seed)
	if ioctl(f, rndAddEntropy, unsafe.Pointer(&pool)) == nil {
		return nil
	}
	if _, err := f.Write(seed); err != nil {
		return errnoError(err, "add entropy")
	}
	return nil
}

// setSysctl takes a name with dots or, where a part has a dot of its own, with
// slashes, as sysctl(8).
func setSysctl(root, name, value string) error {
	path := name
	if !strings.Contains(name, "/") {
		path = strings.ReplaceAll(name, ".", "/")
	}
	if !filepath.IsLocal(path) {
		return callError(protocol.CodeInvalid, "sysctl %q: no name of a sysctl", name)
	}
	f, err := os.OpenFile(filepath.Join(root, path), os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return callError(protocol.CodeUnsupported, "sysctl %s: this kernel has none of that name", name)
	}
	if err != nil {
		return errnoError(err, "sysctl "+name)
	}
	defer f.Close()
	if _, err := f.WriteString(value + "\n"); err != nil {
		return errnoError(err, fmt.Sprintf("sysctl %s=%s", name, value))
	}
	return nil
}

// mountWords are the words of mount(8) and their flags of mount(2).
var mountWords = map[string]uintptr{
	"ro": syscall.MS_RDONLY, "rw": 0, "nosuid": syscall.MS_NOSUID, "nodev": syscall.MS_NODEV,
	"noexec": syscall.MS_NOEXEC, "sync": syscall.MS_SYNCHRONOUS, "dirsync": syscall.MS_DIRSYNC,
	"remount": syscall.MS_REMOUNT, "mand": syscall.MS_MANDLOCK, "noatime": syscall.MS_NOATIME,
	"nodiratime": syscall.MS_NODIRATIME, "relatime": syscall.MS_RELATIME,
	"strictatime": syscall.MS_STRICTATIME, "bind": syscall.MS_BIND,
	"rbind": syscall.MS_BIND | syscall.MS_REC, "move": syscall.MS_MOVE, "silent": syscall.MS_SILENT,
}

// propagation has to be set by a call of its own (mount_namespaces(7)).
var propagation = map[string]uintptr{
	"shared": syscall.MS_SHARED, "slave": syscall.MS_SLAVE,
	"private": syscall.MS_PRIVATE, "unbindable": syscall.MS_UNBINDABLE,
	"rshared": syscall.MS_SHARED | syscall.MS_REC, "rslave": syscall.MS_SLAVE | syscall.MS_REC,
	"rprivate": syscall.MS_PRIVATE | syscall.MS_REC, "runbindable": syscall.MS_UNBINDABLE | syscall.MS_REC,
}

func parseMountFlags(words []string) (flags uintptr, then []uintptr, err error) {
	for _, w := range words {
		if f, ok := mountWords[w]; ok {
			flags |= f
		} else if f, ok := propagation[w]; ok {
			then = append(then, f)
		} else {
			return 0, nil, callError(protocol.CodeInvalid, "flags: unknown word %q", w)
		}
	}
	return flags, then, nil
}

func mount(ctx context.Context, p protocol.Mount) error {
	flags, then, err := parseMountFlags(p.Flags)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(p.Target) {
		return callError(protocol.CodeInvalid, "target: %q is not absolute", p.Target)
	}
	for _, m := range p.Modules {
		if err := loadModule(m, ""); err != nil {
			return errnoError(err, "modules")
		}
	}
	if p.Mkdir {
		if err := makeTarget(p, flags); err != nil {
			return errnoError(err, "make the target")
		}
	}
	if err := awaitDevice(ctx, p); err != nil {
		return err
	}
	doing := fmt.Sprintf("mount %s on %s", p.Source, p.Target)
	if p.FSType != "" || flags != 0 || len(then) == 0 {
		if err := syscall.Mount(p.Source, p.Target, p.FSType, flags, p.Data); err != nil {
			if errors.Is(err, syscall.ENODEV) {
				return callError(protocol.CodeUnsupported, "%s: this kernel has no file system %q, or its module is not loaded", doing, p.FSType)
			}
			return errnoError(err, doing)
		}
	}
	// A bind ignores the other flags until it is remounted (mount(2)).
	if extra := flags &^ (syscall.MS_BIND | syscall.MS_REC | syscall.MS_SILENT); flags&syscall.MS_BIND != 0 && flags&syscall.MS_REMOUNT == 0 && extra != 0 {
		if err := syscall.Mount("", p.Target, "", extra|syscall.MS_BIND|syscall.MS_REMOUNT, ""); err != nil {
			return errnoError(err, doing+": set its flags")
		}
	}
	for _, f := range then {
		if err := syscall.Mount("", p.Target, "", f, ""); err != nil {
			return errnoError(err, doing+": set its propagation")
		}
	}
	return nil
}

// makeTarget makes a folder, or for the bind of a file an empty file.
func makeTarget(p protocol.Mount, flags uintptr) error {
	if flags&syscall.MS_BIND != 0 {
		if st, err := os.Stat(p.Source); err == nil && !st.IsDir() {
			if err := os.MkdirAll(filepath.Dir(p.Target), 0o755); err != nil {
				return err
			}
			f, err := os.OpenFile(p.Target, os.O_CREATE|os.O_RDONLY, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
	}
	return os.MkdirAll(p.Target, 0o755)
}

// awaitDevice waits for a disk that is being plugged in.
func awaitDevice(ctx context.Context, p protocol.Mount) error {
	if p.WaitMillis <= 0 || !strings.HasPrefix(p.Source, "/dev/") {
		return nil
	}
	limit := time.NewTimer(time.Duration(min(p.WaitMillis, 600_000)) * time.Millisecond)
	defer limit.Stop()
	for !exists(p.Source) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return callError(protocol.CodeNotFound, "source: %s did not appear within %d ms", p.Source, p.WaitMillis)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

func unmount(p protocol.Unmount) error {
	flags := 0
	if p.Lazy {
		flags = syscall.MNT_DETACH
	}
	if err := syscall.Unmount(p.Target, flags); err != nil {
		return errnoError(err, "unmount "+p.Target)
	}
	return nil
}
