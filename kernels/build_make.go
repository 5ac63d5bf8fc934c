// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// makeGrace is how long make and what it runs may take to end after SIGINT before
// SIGKILL. A compiler ends at once; a link of a kernel with debug information, on
// a busy disk, does not.
const makeGrace = 5 * time.Second

// makeRun is one run of make in a work tree.
type makeRun struct {
	dir   string
	env   []string
	args  []string
	stdin io.Reader
	out   io.Writer    // both outputs, as they come
	line  func(string) // called for each line of them, without its end; may be nil
}

// run starts make in a process group of its own, so that neither a terminal's
// Ctrl-C nor our own signals reach it by chance, and waits for all of the group.
// When ctx is done the group gets SIGINT, and after makeGrace SIGKILL; the error
// is then ctx's cause.
func (m makeRun) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	cmd := exec.Command("make", m.args...)
	cmd.Dir, cmd.Env, cmd.Stdin = m.dir, m.env, m.stdin
	// A process that left the group and still has the output open is not waited for.
	cmd.WaitDelay = 2 * makeGrace
	out := &lineWriter{to: m.out, line: m.line}
	cmd.Stdout, cmd.Stderr = out, out
	// If this process dies without a word make gets SIGTERM, which it hands down
	// to its children (GNU make, "Interrupts": SIGINT it leaves to the terminal).
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	done := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		// The death signal comes when the thread that started make ends, so the
		// thread must wait with it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			done <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start make: %w", err)
	}
	select {
	case err := <-done:
		out.flush()
		return err
	case <-ctx.Done():
	}
	group := -cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGINT)
	kill := time.AfterFunc(makeGrace, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	defer kill.Stop()
	// Wait returns when make is gone and nobody holds its output any more, that is
	// when all of the group that could write into the tree's log is gone too.
	<-done
	_ = syscall.Kill(group, syscall.SIGKILL)
	out.flush()
	return context.Cause(ctx)
}

// lineWriter hands on what is written and cuts it into lines.
type lineWriter struct {
	to      io.Writer
	line    func(string)
	partial []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	if _, err := w.to.Write(p); err != nil {
		return 0, err
	}
	if w.line == nil {
		return len(p), nil
	}
	w.partial = append(w.partial, p...)
	for {
		i := bytes.IndexByte(w.partial, '\n')
		if i < 0 {
			return len(p), nil
		}
		w.line(string(w.partial[:i]))
		w.partial = w.partial[i+1:]
	}
}

// flush hands on a last line without an end.
func (w *lineWriter) flush() {
	if w.line != nil && len(w.partial) > 0 {
		w.line(string(w.partial))
		w.partial = nil
	}
}

// buildLog is the log of one build, which is kept whatever comes of it.
type buildLog struct {
	*os.File
	verbose io.Writer
	// failed and lost are the first errors of writing to verbose and to the file.
	// Neither stops make: a disk that is full for the log is full for make too,
	// which then says so.
	failed, lost error
}

// newLog starts the log of the build called key, over that of its last attempt.
func (c *Cache) newLog(key string, verbose io.Writer) (*buildLog, error) {
	f, err := os.Create(c.logPath(key))
	if err != nil {
		return nil, fmt.Errorf("start the build's log: %w", err)
	}
	return &buildLog{File: f, verbose: verbose}, nil
}

func (c *Cache) logPath(key string) string { return c.path(logsDir, key+".log") }

func (l *buildLog) Write(p []byte) (int, error) {
	if l.lost == nil {
		_, l.lost = l.File.Write(p)
	}
	if l.verbose != nil && l.failed == nil {
		_, l.failed = l.verbose.Write(p)
	}
	return len(p), nil
}

// command writes a command into the log, in a form that a shell takes.
func (l *buildLog) command(m makeRun) {
	var b strings.Builder
	fmt.Fprintf(&b, "+ cd %s && env -i", quote(m.dir))
	for _, e := range m.env {
		b.WriteString(" " + quote(e))
	}
	b.WriteString(" make")
	for _, a := range m.args {
		b.WriteString(" " + quote(a))
	}
	fmt.Fprintln(l, b.String())
}

// quote makes one shell word of s.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=/.,:+@%", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
