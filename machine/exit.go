package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Reason is why QEMU ended.
type Reason string

// Reasons of [Exit].
const (
	GuestShutdown Reason = "guest-shutdown" // the guest powered itself off
	GuestReset    Reason = "guest-reset"    // the guest reset itself; QEMU runs with -no-reboot
	GuestDied     Reason = "guest-died"     // Exit.Err says of what
	HostQuit      Reason = "host-quit"      // QMP's quit, or a signal that QEMU handles
	HostKilled    Reason = "host-killed"    // killed by this process: Kill, Close, or Start's context
	QEMUFailed    Reason = "qemu-failed"    // QEMU failed, or was killed by somebody else
)

// Exit is how a machine ended.
type Exit struct {
	Reason Reason
	// Code is QEMU's exit status, and Signal what killed it (then Code is -1).
	// Neither says anything about the guest.
	Code   int
	Signal syscall.Signal
	// Err is set for GuestDied and QEMUFailed.
	Err *BootError
}

// Wait waits until QEMU has ended. Its error is ctx's.
func (m *Machine) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-m.done:
		return m.exit, nil
	case <-ctx.Done():
		return Exit{}, fmt.Errorf("wait for the virtual machine: %w", context.Cause(ctx))
	}
}

// quitLimit is how long QEMU may take to end when told to.
const quitLimit = 2 * time.Second

// Stop ends the guest: ask, if not nil, asks it to power off, else ACPI's power
// button is pressed; when ctx ends first, or asking fails, QEMU is told to quit,
// and killed at last. Stop returns when QEMU has ended.
func (m *Machine) Stop(ctx context.Context, ask func(context.Context) error) Exit {
	if ask == nil {
		ask = m.PowerButton
	}
	if err := ask(ctx); err == nil {
		select {
		case <-m.done:
			return m.exit
		case <-ctx.Done():
		}
	}
	// Asking may have failed because it was heeded at once.
	quit, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitLimit)
	defer cancel()
	_ = m.Quit(quit)
	select {
	case <-m.done:
		return m.exit
	case <-quit.Done():
	}
	return m.Kill()
}

// Kill kills QEMU and returns when it is gone.
func (m *Machine) Kill() Exit {
	m.kill()
	<-m.done
	return m.exit
}

// Close kills QEMU if it runs and closes the channel. It is idempotent.
func (m *Machine) Close() error {
	m.Kill()
	m.channel.Close()
	return nil
}

func (m *Machine) kill() {
	select {
	case <-m.done:
		return
	default:
	}
	m.mu.Lock()
	m.killed = true
	m.mu.Unlock()
	// It fails only when QEMU is gone.
	_ = m.cmd.Process.Kill()
}

// PowerButton presses ACPI's power button, which the guest may heed.
func (m *Machine) PowerButton(ctx context.Context) error {
	return m.qmp.Execute(ctx, "system_powerdown", nil, nil)
}

// Pause stops the guest's vCPUs.
func (m *Machine) Pause(ctx context.Context) error { return m.qmp.Execute(ctx, "stop", nil, nil) }

// Cont runs the guest's vCPUs.
func (m *Machine) Cont(ctx context.Context) error { return m.qmp.Execute(ctx, "cont", nil, nil) }

// Quit tells QEMU to end without asking the guest.
func (m *Machine) Quit(ctx context.Context) error { return m.qmp.Execute(ctx, "quit", nil, nil) }

// readEvent notes why QEMU is about to end (qapi/run-state.json, SHUTDOWN).
func (m *Machine) readEvent(e Event) {
	if e.Name != "SHUTDOWN" {
		return
	}
	var data struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(e.Data, &data) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shutdown == "" {
		m.shutdown = data.Reason
	}
}

// reap makes the exit of QEMU's end, once all that it said has been read.
func (m *Machine) reap(waitErr error) {
	<-m.consoleDone
	m.mu.Lock()
	q := m.qmp
	m.mu.Unlock()
	if q != nil {
		<-q.Done()
	}
	m.mu.Lock()
	m.exit = m.judgeExit(waitErr)
	m.mu.Unlock()
	close(m.done)
}

func (m *Machine) judgeExit(waitErr error) Exit {
	exit := Exit{Code: m.cmd.ProcessState.ExitCode()}
	if status, ok := m.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Signal = status.Signal()
	}
	switch {
	case m.isOver:
		exit.Reason, exit.Err = GuestDied, m.judge.verdict(m.console.tail())
	case strings.HasPrefix(m.shutdown, "guest-") && m.judge.best != nil && !m.booted:
		exit.Reason, exit.Err = GuestDied, m.judge.verdict(m.console.tail())
	case m.shutdown == "guest-shutdown":
		exit.Reason = GuestShutdown
	case m.shutdown == "guest-reset":
		exit.Reason = GuestReset
	case m.shutdown == "guest-panic":
		exit.Reason = GuestDied
		exit.Err = &BootError{Kind: Panic, Line: "reported to QEMU", Console: m.console.tail()}
	case m.killed:
		exit.Reason = HostKilled
	case m.shutdown != "" && exit.Code == 0:
		exit.Reason = HostQuit
	default:
		exit.Reason, exit.Err = QEMUFailed, m.qemuError(waitErr)
	}
	return exit
}

// qemuError is what QEMU wrote before it failed. Its first line tells the cause;
// warnings precede it, and hints follow.
func (m *Machine) qemuError(waitErr error) *BootError {
	failed := &BootError{Kind: QEMU, Console: m.console.tail()}
	for _, line := range m.stderr.lines() {
		if !strings.Contains(line, "warning: ") {
			failed.Line = line
			break
		}
	}
	status := "exit status 0"
	if waitErr != nil {
		status = waitErr.Error()
	}
	if failed.Line == "" {
		failed.Line = "it said nothing"
	}
	failed.Why = status
	return failed
}
