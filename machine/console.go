package machine

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
)

// maxLine is how much of one console line is kept.
const maxLine = 1024

// Console keeps the last lines of what a guest wrote on ttyS0.
type console struct {
	log    io.Writer // nil once it failed
	onLine func(string)

	mu      sync.Mutex
	ring    []string // in order from next, once full
	next    int
	partial []byte
	cut     bool // partial is full; what follows is dropped
	last    time.Time
	bytes   int64
}

func newConsole(lines int, log io.Writer, onLine func(string)) *console {
	return &console{ring: make([]string, 0, lines), log: log, onLine: onLine}
}

// Write takes what the guest wrote; it never fails.
func (c *console) Write(p []byte) (int, error) {
	if c.log != nil {
		if _, err := c.log.Write(p); err != nil {
			c.log = nil
		}
	}
	c.mu.Lock()
	c.last = time.Now()
	c.bytes += int64(len(p))
	var whole []string
	for rest := p; len(rest) > 0; {
		head, tail, found := bytes.Cut(rest, []byte{'\n'})
		c.extend(head)
		if found {
			whole = append(whole, c.endLine())
		}
		rest = tail
	}
	c.mu.Unlock()
	for _, line := range whole {
		c.onLine(line)
	}
	return len(p), nil
}

func (c *console) extend(p []byte) {
	room := maxLine - len(c.partial)
	if len(p) > room {
		p, c.cut = p[:room], true
	}
	c.partial = append(c.partial, p...)
}

func (c *console) endLine() string {
	line := printable(c.partial)
	if c.cut {
		line += "..."
	}
	c.partial, c.cut = c.partial[:0], false
	if strings.TrimSpace(line) == "" {
		return line
	}
	if len(c.ring) < cap(c.ring) {
		c.ring = append(c.ring, line)
	} else {
		c.ring[c.next] = line
		c.next = (c.next + 1) % len(c.ring)
	}
	return line
}

// finish ends a last line that has no newline.
func (c *console) finish() {
	c.mu.Lock()
	if len(c.partial) == 0 {
		c.mu.Unlock()
		return
	}
	line := c.endLine()
	c.mu.Unlock()
	c.onLine(line)
}

// tail is the lines kept, with a last one that is not yet whole.
func (c *console) tail() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := make([]string, 0, len(c.ring)+1)
	lines = append(lines, c.ring[c.next:]...)
	lines = append(lines, c.ring[:c.next]...)
	if line := printable(c.partial); strings.TrimSpace(line) != "" {
		lines = append(lines, line)
	}
	return lines
}

// progress is when the guest last wrote, and how much it has written.
func (c *console) progress() (last time.Time, written int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.bytes
}

// printable makes a line safe for a terminal: the firmware and the guest's own
// programs write escape sequences, and a guest could write worse.
func printable(line []byte) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, string(line))
}
