package protocol

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

func TestDeathOfThePeerReachesAll(t *testing.T) {
	before := runtime.NumGoroutine()
	cl, g, _ := pair(t, Options{}, Options{Handler: echo})
	h, s := streamPair(t, cl, g)
	if _, err := s.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	within(t, "the words to arrive", func() bool { return h.buffered() == 10 })
	errs := make(chan error, 3)
	go func() { errs <- cl.Call(context.Background(), "hang", nil, nil) }()
	go func() { _, err := h.Write(make([]byte, 10<<20)); errs <- err }()
	job := &Job{cl: cl, done: make(chan struct{})}
	go func() { _, err := job.Wait(context.Background()); errs <- err }()
	g.rw.Close()
	for range 3 {
		if err := <-errs; err == nil || !Ended(err) {
			t.Errorf("got %v", err)
		}
	}
	b, err := io.ReadAll(h)
	if string(b) != "last words" || !Ended(err) && err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	cl.Close()
	g.Close()
	within(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestNewHostTakesOver(t *testing.T) {
	for name, how := range map[string]Attach{"resume": AttachResume, "resync": AttachResync} {
		t.Run(name, func(t *testing.T) {
			hostEnd, guestEnd := switchable()
			cl, g, l := pairOver(t, hostEnd, guestEnd, Options{}, Options{Handler: echo})
			_ = cl
			if how == AttachResync { // the old host dies within a frame
				b := appendHeader(nil, header{kind: frameControl, length: 5000})
				if _, err := hostEnd.Write(append(b, "{"...)); err != nil {
					t.Fatal(err)
				}
			}
			newEnd := guestEnd.replaceHost()
			accepted := make(chan error, 1)
			go func() {
				<-g.Done()
				_, err := l.Accept(context.Background(), &GuestInfo{Release: "again"}, Options{Handler: echo})
				accepted <- err
			}()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			second, err := Connect(ctx, newEnd, how, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := <-accepted; err != nil {
				t.Fatal(err)
			}
			if second.Guest().Release != "again" {
				t.Errorf("hello of %q", second.Guest().Release)
			}
			if err := second.Call(ctx, "echo", "x", nil); err != nil {
				t.Error(err)
			}
			if how == AttachResume && !errors.Is(g.Err(), ErrNewSession) {
				t.Errorf("the old session ended with %v", g.Err())
			}
			second.Close()
		})
	}
}

func TestSilentHostIsGone(t *testing.T) {
	hostEnd, guestEnd := switchable()
	_, g, _ := pairOver(t, hostEnd, guestEnd, Options{Keepalive: 20 * time.Millisecond}, Options{})
	select { // kept alive by the Conn itself
	case <-g.Done():
		t.Fatal(g.Err())
	case <-time.After(300 * time.Millisecond):
	}
	guestEnd.replaceHost() // the old one is heard no more, with no hang-up
	<-g.Done()
	if !errors.Is(g.Err(), ErrPeerSilent) {
		t.Errorf("got %v", g.Err())
	}
	guestEnd.Close()
}

type tty struct {
	net.Conn
	mu   sync.Mutex
	cond *sync.Cond
	host net.Conn
	end  net.Conn
	shut bool
}

func switchable() (net.Conn, *tty) {
	a, b := net.Pipe()
	p := &tty{Conn: b, host: a, end: b}
	p.cond = sync.NewCond(&p.mu)
	return a, p
}

func (p *tty) replaceHost() net.Conn {
	a, b := net.Pipe()
	p.mu.Lock()
	old := p.end
	p.host, p.end = a, b
	p.cond.Broadcast()
	p.mu.Unlock()
	old.Close()
	return a
}

func (p *tty) current() (net.Conn, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end, p.shut
}

func (p *tty) Read(b []byte) (int, error) {
	for {
		c, shut := p.current()
		n, err := c.Read(b)
		if n > 0 || shut {
			return n, err
		}
		p.mu.Lock()
		for p.end == c && !p.shut {
			p.cond.Wait()
		}
		p.mu.Unlock()
	}
}

func (p *tty) Write(b []byte) (int, error) {
	c, shut := p.current()
	n, err := c.Write(b)
	if err != nil && !shut {
		return len(b), nil // nobody listens: QEMU throws it away
	}
	return n, err
}

func (p *tty) Close() error {
	p.mu.Lock()
	p.shut = true
	end := p.end
	p.cond.Broadcast()
	p.mu.Unlock()
	return end.Close()
}
