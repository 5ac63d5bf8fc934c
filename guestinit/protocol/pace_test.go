package protocol

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lossy is QEMU's virtconsole: what the guest writes goes to the socket in
// pieces, and is thrown away while the socket is full.
type lossy struct {
	net.Conn
	raw  syscall.RawConn
	mu   sync.Mutex
	lost int
}

func (l *lossy) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), piece)
		var sent int
		err := l.raw.Control(func(fd uintptr) {
			sent, _ = syscall.SendmsgN(int(fd), rest[:n], nil, nil, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		})
		if err != nil {
			return 0, err
		}
		l.mu.Lock()
		l.lost += n - max(sent, 0)
		l.mu.Unlock()
		rest = rest[n:]
	}
	return len(p), nil
}

func TestNothingIsLostInASocketThatIsFull(t *testing.T) {
	for name, wide := range map[string]bool{"default size": false, "widened": true} {
		t.Run(name, func(t *testing.T) {
			hostEnd, guestEnd := socketpair(t)
			raw, err := guestEnd.(*net.UnixConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			opts := Options{}
			if wide {
				if opts.InFlight, err = WidenSocket(raw); err != nil {
					t.Fatal(err)
				}
				t.Logf("in flight: %d KiB", opts.InFlight>>10)
			}
			channel := &lossy{Conn: guestEnd, raw: raw}
			host := &pausing{Conn: hostEnd, resume: make(chan struct{})}
			cl, g, _ := pairOver(t, host, channel, opts, Options{})
			var streams [][2]*Stream
			for range 4 {
				h, s := streamPair(t, cl, g)
				streams = append(streams, [2]*Stream{h, s})
			}
			host.pause()
			const size = 2 << 20
			var wg sync.WaitGroup
			for i, pair := range streams {
				wg.Add(2)
				chunk := []int{64 << 10, 3000, 100, 1}[i] // small writes fill a socket sooner
				total := size / (65536 / max(chunk, 1024))
				go func() {
					defer wg.Done()
					for left := total; left > 0; left -= chunk {
						if _, err := pair[1].Write(make([]byte, min(chunk, left))); err != nil {
							t.Error(err)
							return
						}
					}
					pair[1].CloseWrite()
				}()
				go func() {
					defer wg.Done()
					if n, err := io.Copy(io.Discard, pair[0]); err != nil || int(n) != total {
						t.Errorf("%d of %d bytes, %v", n, total, err)
					}
				}()
			}
			time.AfterFunc(200*time.Millisecond, func() { close(host.resume) })
			wg.Wait()
			channel.mu.Lock()
			defer channel.mu.Unlock()
			if channel.lost != 0 {
				t.Errorf("%d bytes were lost", channel.lost)
			}
		})
	}
}

// pausing is a host that does not get to read for a while.
type pausing struct {
	net.Conn
	mu     sync.Mutex
	paused bool
	resume chan struct{}
}

func (p *pausing) pause() {
	p.mu.Lock()
	p.paused = true
	p.mu.Unlock()
}

func (p *pausing) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.mu.Lock()
	paused := p.paused
	p.mu.Unlock()
	if paused {
		<-p.resume
	}
	return n, err
}

func TestEchoThatWasNotAskedForIsRefused(t *testing.T) {
	p := pace{limit: MinInFlight}
	if err := p.echoed(1); !errors.Is(err, ErrFlowControl) {
		t.Errorf("got %v", err)
	}
	for p.room() >= smallestBatch {
		p.spend(smallestBatch)
	}
	if p.mark == 0 || p.spent-p.read > p.limit {
		t.Errorf("%+v", p)
	}
	if err := p.echoed(p.mark); err != nil || p.room() < smallestBatch {
		t.Errorf("%v, room %d", err, p.room())
	}
	if err := p.echoed(p.mark - 1); !errors.Is(err, ErrFlowControl) {
		t.Errorf("an echo that goes back: %v", err)
	}
}
