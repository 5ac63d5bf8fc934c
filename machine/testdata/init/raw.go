package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// raw is cfmakeraw(3).
func raw(f *os.File) {
	var t syscall.Termios
	ioctl(f, syscall.TCGETS, &t)
	t.Iflag &^= syscall.IGNBRK | syscall.BRKINT | syscall.PARMRK | syscall.ISTRIP | syscall.INLCR | syscall.IGNCR | syscall.ICRNL | syscall.IXON
	t.Oflag &^= syscall.OPOST
	t.Lflag &^= syscall.ECHO | syscall.ECHONL | syscall.ICANON | syscall.ISIG | syscall.IEXTEN
	t.Cflag = t.Cflag&^(syscall.CSIZE|syscall.PARENB) | syscall.CS8
	ioctl(f, syscall.TCSETS, &t)
}

func ioctl(f *os.File, request uintptr, t *syscall.Termios) {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(t))); errno != 0 {
		fmt.Println("ioctl:", errno)
	}
}
