// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
	"github.com/runv-legacy/runv-legacy/machine"
)

// guest is a machine that has booted, with the conversation with its process 1.
type guest struct {
	machine *machine.Machine
	client  *protocol.Client
}

// startGuest boots a guest up to the hello of its process 1 and gives it the
// time, entropy and a name.
func startGuest(ctx context.Context, cfg machine.Config) (*guest, error) {
	m, err := machine.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	g := &guest{machine: m}
	err = m.Boot(ctx, func(ctx context.Context, conn net.Conn) error {
		g.client, err = protocol.Connect(ctx, conn, protocol.AttachBoot, protocol.Options{})
		return err
	})
	if err != nil {
		m.Close()
		return nil, err
	}
	entropy := make([]byte, 256)
	if _, err := rand.Read(entropy); err != nil {
		m.Close()
		return nil, fmt.Errorf("read entropy for the guest: %w", err)
	}
	err = g.client.Configure(ctx, protocol.Configure{
		TimeUnixNano: time.Now().UnixNano(), Entropy: entropy, Hostname: "runv",
	})
	if err != nil {
		err = g.explain(fmt.Errorf("configure the guest: %w", err))
		m.Close()
		return nil, err
	}
	return g, nil
}

// deathLimit is how long a guest that no longer answers may take to be seen
// dead.
const deathLimit = 5 * time.Second

// explain prefers the guest's death to what the death broke.
func (g *guest) explain(err error) error {
	if g.client.Err() == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deathLimit)
	defer cancel()
	exit, waitErr := g.machine.Wait(ctx)
	if waitErr == nil && exit.Err != nil {
		return exit.Err
	}
	return err
}

// Limits of an orderly end.
const (
	powerOffGrace = 500 * time.Millisecond
	powerOffLimit = 15 * time.Second
)

// powerOff ends the guest in order, or else by force; it is an error if force
// was needed or the guest died over it.
func (g *guest) powerOff(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, powerOffLimit)
	defer cancel()
	exit := g.machine.Stop(ctx, func(ctx context.Context) error {
		return g.client.Poweroff(ctx, protocol.Poweroff{GraceMillis: int(powerOffGrace / time.Millisecond)})
	})
	if exit.Err != nil {
		return exit.Err
	}
	if exit.Reason == machine.HostKilled {
		return errors.New("it did not power off in time and was killed")
	}
	return nil
}

// job runs one program with this process's standard streams.
func (a *app) job(ctx context.Context, g *guest, start protocol.Start, in *os.File, tty bool) (protocol.Exited, error) {
	io := protocol.StdIO{Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr, Linger: time.Second}
	if tty {
		io.Stderr = nil // a terminal has one output
		start.TTY = terminalSize(in)
		restore, err := rawTerminal(in)
		if err != nil {
			return protocol.Exited{}, err
		}
		defer restore()
		io.Started = func(j *protocol.Job) { go followSize(ctx, j, in) }
	}
	exit, err := g.client.Run(ctx, start, io)
	var failed *protocol.CallError
	if errors.As(err, &failed) {
		if code, ok := failed.ExitStatus(); ok {
			return exit, codeError{code, err}
		}
	}
	return exit, err
}

func isTerminal(f *os.File) bool { return f != nil && term.IsTerminal(int(f.Fd())) }

func termName() string {
	if t := os.Getenv("TERM"); t != "" {
		return t
	}
	return "linux"
}

// terminalSize is the size of this terminal, or the classic one.
func terminalSize(f *os.File) *protocol.Size {
	if isTerminal(f) {
		if cols, rows, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 && rows > 0 {
			return &protocol.Size{Rows: uint16(rows), Cols: uint16(cols)}
		}
	}
	return &protocol.Size{Rows: 24, Cols: 80}
}

// rawTerminal leaves line editing and Ctrl-C to the guest's terminal.
func rawTerminal(f *os.File) (restore func(), err error) {
	if !isTerminal(f) {
		return func() {}, nil
	}
	state, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("set this terminal to raw mode: %w", err)
	}
	return func() { _ = term.Restore(int(f.Fd()), state) }, nil
}

// followSize passes changes of this terminal's size on.
func followSize(ctx context.Context, j *protocol.Job, f *os.File) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	for {
		select {
		case <-changed:
			_ = j.Resize(ctx, *terminalSize(f)) // the job may have ended
		case <-j.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}
