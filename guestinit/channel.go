package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// channelWait is how long devices may take to appear. Drivers that are built
// in are done before process 1 starts; those loaded as modules probe at once,
// but on some buses from a work queue.
const channelWait = 2 * time.Second

// channel is the device that leads to the host.
type channel struct {
	*os.File
	name string
}

// findChannel opens the device that the host chose, or the first that works.
func findChannel(dev, portClass, choice string) (channel, error) {
	names := []string{choice}
	if choice == "" {
		names = []string{"hvc0", "ttyS1"}
	}
	deadline := time.Now().Add(channelWait)
	for {
		var failures []string
		for _, name := range names {
			f, err := openChannel(dev, portClass, name)
			if err == nil {
				return channel{f, name}, nil
			}
			failures = append(failures, err.Error())
		}
		if time.Now().After(deadline) {
			return channel{}, errors.New(strings.Join(failures, "; "))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func openChannel(dev, portClass, name string) (*os.File, error) {
	if strings.ContainsAny(name, "/") || name == ".." || name == "." {
		return nil, fmt.Errorf("%q is no device name", name)
	}
	path := filepath.Join(dev, name)
	if node := findPort(portClass, name); node != "" {
		path = filepath.Join(dev, node)
	}
	// O_NONBLOCK lets the runtime's poller wait, so that Close ends a Read.
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	// A virtio port is no terminal, and is raw by nature.
	if err := makeRaw(f); err != nil && !errors.Is(err, syscall.ENOTTY) && !errors.Is(err, syscall.EINVAL) {
		f.Close()
		return nil, fmt.Errorf("%s: raw mode: %w", path, err)
	}
	return f, nil
}

// findPort looks a virtio port up by the name that QEMU gave it
// (drivers/char/virtio_console.c, show_port_name).
func findPort(portClass, name string) string {
	files, err := filepath.Glob(filepath.Join(portClass, "*", "name"))
	if err != nil {
		return ""
	}
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(b)) == name {
			return filepath.Base(filepath.Dir(file))
		}
	}
	return ""
}

// makeRaw is cfmakeraw(3), with the line's speed at the most that a PC's UART
// does; consoles that have no speed ignore it.
func makeRaw(f *os.File) error {
	var t syscall.Termios
	if err := ioctl(f, syscall.TCGETS, unsafe.Pointer(&t)); err != nil {
		return err
	}
	t.Iflag = 0
	t.Oflag = 0
	t.Lflag = 0
	t.Cflag &^= syscall.CSIZE | syscall.PARENB | syscall.CSTOPB | crtscts | cbaud
	t.Cflag |= syscall.CS8 | syscall.CREAD | syscall.CLOCAL | syscall.B115200
	t.Cc[syscall.VMIN], t.Cc[syscall.VTIME] = 1, 0
	return ioctl(f, syscall.TCSETS, unsafe.Pointer(&t))
}

// include/uapi/asm-generic/termbits.h
const (
	cbaud   = 0x100f
	crtscts = 0x80000000
)

// ioctl runs on the raw descriptor without taking it from the poller, as
// os.File.Fd would.
func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg))
	})
	if err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}

var _ io.ReadWriteCloser = channel{}
