package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

// prefix begins every line that process 1 writes to the console. The host's
// reading of a boot depends on it: docs/guest-protocol.md lists the lines.
const prefix = "runv-init: "

// console writes to the kernel's console, or to its log where the machine has
// no console.
type console struct {
	mu    sync.Mutex
	out   *os.File
	quiet bool
}

func openConsole() *console {
	for _, path := range []string{"/dev/console", "/dev/kmsg"} {
		// Not through the poller: a blocking write of one line is wanted.
		fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
		if err == nil {
			return &console{out: os.NewFile(uintptr(fd), path)}
		}
	}
	return &console{out: os.Stderr}
}

// say writes one line, whole, whatever is in the text.
func (c *console) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	line = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, line)
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprint(c.out, prefix+line+"\n")
}

// chat is for what matters only to somebody who watches the boot.
func (c *console) chat(format string, args ...any) {
	if !c.quiet {
		c.say(format, args...)
	}
}
