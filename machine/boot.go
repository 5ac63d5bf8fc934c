package machine

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

// Limits bound a boot. Zero is the default, which is generous enough for a busy
// host without kvm; a negative value is no limit.
type Limits struct {
	// QMP is how long QEMU may take to answer; 20 s.
	QMP time.Duration
	// FirstOutput is how long a guest may take to the first byte on its console
	// (or its hello); 60 s.
	FirstOutput time.Duration
	// Silence is how long it may say nothing on its console after that; 60 s.
	Silence time.Duration
	// Hello is how long it may take in all, whatever it says; 5 min.
	Hello time.Duration
}

func (l Limits) withDefaults() Limits {
	for _, limit := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&l.QMP, 20 * time.Second}, {&l.FirstOutput, time.Minute}, {&l.Silence, time.Minute}, {&l.Hello, 5 * time.Minute}} {
		if *limit.value == 0 {
			*limit.value = limit.def
		}
	}
	return l
}

func withLimit(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

// limitCheck is how often the limits are looked at.
const limitCheck = 100 * time.Millisecond

// Boot runs hello on the guest's channel and returns when it has returned, or
// when the guest has died or kept silent for too long, whichever comes first.
// hello is to return when the guest has said that it is up; its context ends
// when the boot has failed.
//
// When Boot fails the machine has been killed and hello has returned; the error
// is a *BootError, or wraps hello's own or ctx's.
func (m *Machine) Boot(ctx context.Context, hello func(context.Context, net.Conn) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := make(chan error, 1)
	go func() { said <- hello(ctx, m.channel) }()

	tick := time.NewTicker(limitCheck)
	defer tick.Stop()
	for {
		select {
		case err := <-said:
			return m.hasSaid(ctx, err)
		case <-ctx.Done():
			m.Kill()
			<-said
			return fmt.Errorf("boot: %w", context.Cause(ctx))
		case <-m.done:
			return m.failBoot(cancel, said, m.deathBeforeHello())
		case now := <-tick.C:
			if dead := m.overdue(now); dead != nil {
				m.Kill()
				return m.failBoot(cancel, said, dead)
			}
		}
	}
}

// Guest boots the machine up to the Hello of guestinit, and returns the
// conversation with it. It fails as Boot does. The client owns the channel.
func (m *Machine) Guest(ctx context.Context, opts protocol.Options) (*protocol.Client, error) {
	var client *protocol.Client
	err := m.Boot(ctx, func(ctx context.Context, channel net.Conn) (err error) {
		client, err = protocol.Connect(ctx, channel, protocol.AttachBoot, opts)
		return err
	})
	if err != nil {
		return nil, err
	}
	return client, nil
}

// failBoot ends hello, by its context and by the end of its stream.
func (m *Machine) failBoot(cancel context.CancelFunc, said <-chan error, err error) error {
	cancel()
	m.channel.Close()
	<-said
	return err
}

// deathPause is how long the channel's end may be ahead of QEMU's.
const deathPause = time.Second

func (m *Machine) hasSaid(ctx context.Context, err error) error {
	if err == nil {
		m.mu.Lock()
		m.booted = true
		if !m.isOver {
			m.judge.best = nil // what it complained of did not stop it
		}
		m.mu.Unlock()
		return nil
	}
	// A guest that dies takes the channel along, and a panic is on the console
	// before hello fails for the lack of an answer.
	select {
	case <-m.done:
		return m.deathBeforeHello()
	case <-time.After(deathPause):
	case <-m.over:
		<-m.done
		return m.deathBeforeHello()
	}
	m.Kill()
	if ctx.Err() != nil {
		return fmt.Errorf("boot: %w", context.Cause(ctx))
	}
	return fmt.Errorf("greet the guest: %w", err)
}

// deathBeforeHello is the error for a machine that has ended.
func (m *Machine) deathBeforeHello() error {
	if m.exit.Err != nil {
		return m.exit.Err
	}
	dead := &BootError{Console: m.Console()}
	if small := m.tooSmall(); small != nil && m.exit.Reason == GuestReset {
		return small
	}
	switch m.exit.Reason {
	case GuestReset:
		dead.Kind, dead.Line = Reset, "the machine was reset with no word why"
		dead.Why = "a triple fault, or a reboot by process 1"
	case GuestShutdown:
		dead.Kind, dead.Line = Ended, "the guest powered off before it said hello"
	default:
		return fmt.Errorf("boot: %w: %s", ErrExited, m.exit.Reason)
	}
	return dead
}

// tooSmall is the verdict on a guest that said nothing and whose kernel cannot
// have been unpacked.
func (m *Machine) tooSmall() *BootError {
	if _, written := m.console.progress(); written > 0 || m.memory >= m.floor {
		return nil
	}
	return &BootError{
		Kind: Memory, Console: m.Console(),
		Line: fmt.Sprintf("the machine has %d MiB", m.memory>>20),
		Why:  fmt.Sprintf("this kernel needs %d MiB to unpack itself, and more to run", (m.floor+1<<20-1)>>20),
	}
}

// overdue says which limit has been passed, if any.
func (m *Machine) overdue(now time.Time) *BootError {
	last, written := m.console.progress()
	past := func(since time.Time, limit time.Duration) bool { return limit >= 0 && now.Sub(since) > limit }
	dead := &BootError{Kind: Hang}
	switch {
	case written == 0 && past(m.started, m.limits.FirstOutput):
		if small := m.tooSmall(); small != nil {
			return small
		}
		dead.Kind = NoConsole
		dead.Line = fmt.Sprintf("nothing on ttyS0 and no hello within %v", m.limits.FirstOutput)
		dead.Why = "is console=ttyS0 on its command line, and is the kernel one for this machine?"
		return dead
	case written > 0 && past(last, m.limits.Silence):
		dead.Line = fmt.Sprintf("no hello, and silent for %v", m.limits.Silence)
	case past(m.started, m.limits.Hello):
		dead.Line = fmt.Sprintf("no hello within %v", m.limits.Hello)
	default:
		return nil
	}
	dead.Console = m.Console()
	m.mu.Lock()
	defer m.mu.Unlock()
	if seen := m.judge.verdict(dead.Console); seen != nil {
		return seen
	}
	if n := len(dead.Console); n > 0 {
		dead.Line += " after: " + dead.Console[n-1]
	}
	return dead
}
