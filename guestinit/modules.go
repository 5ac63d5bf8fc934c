package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unsafe"
)

// modulesFile lists the modules that the initrd brings, one path a line, in
// the order of loading.
const modulesFile = "/etc/runv/modules"

const sysFinitModule = 313 // arch/x86/entry/syscalls/syscall_64.tbl; Linux 3.8

// loadListed loads what the initrd lists. A missing list means that there is
// nothing to load; a module that fails does not keep the others from loading.
func loadListed(list string) (loaded, warnings []string) {
	b, err := os.ReadFile(list)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []string{fmt.Sprintf("read the list of modules: %v", err)}
	}
	for _, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		path, options, _ := strings.Cut(line, " ")
		if err := loadModule(path, options); err != nil {
			warnings = append(warnings, err.Error())
			continue
		}
		if name := moduleName(path); !slices.Contains(loaded, name) {
			loaded = append(loaded, name)
		}
	}
	return loaded, warnings
}

func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return name
}

// loadModule loads one module; one that is there already is fine. A compressed
// module needs a kernel that can unpack it (CONFIG_MODULE_DECOMPRESS, 5.17);
// the initrd packs them plain.
func loadModule(path, options string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("load module: %w", err)
	}
	defer f.Close()
	opts, err := syscall.BytePtrFromString(options)
	if err != nil {
		return fmt.Errorf("load module %s: options: %w", path, err)
	}
	_, _, errno := syscall.Syscall(sysFinitModule, f.Fd(), uintptr(unsafe.Pointer(opts)), 0)
	if errno == syscall.ENOSYS {
		errno, err = initModule(path, opts)
		if err != nil {
			return fmt.Errorf("load module: %w", err)
		}
	}
	switch errno {
	case 0, syscall.EEXIST:
		return nil
	case syscall.ENOENT:
		return fmt.Errorf("load module %s: unknown symbol: a module that it depends on is not loaded, or is listed after it", path)
	case syscall.ENOEXEC:
		return fmt.Errorf("load module %s: not built for this kernel (%w)", path, errno)
	}
	return fmt.Errorf("load module %s: %w", path, errno)
}

// initModule is the way of kernels before 3.8.
func initModule(path string, opts *byte) (syscall.Errno, error) {
	image, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if len(image) == 0 {
		return syscall.ENOEXEC, nil
	}
	_, _, errno := syscall.Syscall(syscall.SYS_INIT_MODULE,
		uintptr(unsafe.Pointer(&image[0])), uintptr(len(image)), uintptr(unsafe.Pointer(opts)))
	return errno, nil
}
