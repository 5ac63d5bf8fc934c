package protocol

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pair connects a host and a guest over net.Pipe, which buffers nothing: a
// design that needs a buffer in the channel would lock up.
func pair(t testing.TB, host, guest Options) (*Client, *Conn, *Listener) {
	t.Helper()
	a, b := net.Pipe()
	return pairOver(t, a, b, host, guest)
}

func pairOver(t testing.TB, a, b net.Conn, host, guest Options) (*Client, *Conn, *Listener) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	l := NewListener(b)
	var g *Conn
	accepted := make(chan error, 1)
	go func() {
		var err error
		g, err = l.Accept(ctx, &GuestInfo{Release: "2.6.32.71"}, guest)
		accepted <- err
	}()
	cl, err := Connect(ctx, a, AttachBoot, host)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close(); g.Close() })
	return cl, g, l
}

// streamPair opens a stream and takes it on the other side.
func streamPair(t testing.TB, cl *Client, g *Conn) (host, guest *Stream) {
	t.Helper()
	host, err := cl.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	within(t, "the stream to arrive", func() bool {
		guest, err = g.TakeStream(host.ID())
		return err == nil
	})
	return host, guest
}

// within polls a state that has no event of its own.
func within(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestHelloTellsTheHostWhatTheGuestIs(t *testing.T) {
	cl, g, _ := pair(t, Options{}, Options{Window: 64 << 10})
	if got := cl.Guest().Release; got != "2.6.32.71" {
		t.Errorf("release %q", got)
	}
	if cl.Peer().Window != 64<<10 || g.Peer().Window != DefaultWindow {
		t.Errorf("windows %d and %d", cl.Peer().Window, g.Peer().Window)
	}
	if cl.Version() != MaxVersion || g.Version() != MaxVersion {
		t.Errorf("versions %d and %d", cl.Version(), g.Version())
	}
}

func TestForeignVersionIsRefusedByBothSides(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		_ = writeHello(b, Hello{MinVersion: 7, MaxVersion: 9, Nonce: "n", Window: DefaultWindow})
		_, _ = io.Copy(io.Discard, b)
	}()
	_, err := Connect(context.Background(), a, AttachBoot, Options{})
	var v *VersionError
	if !errors.As(err, &v) || v.PeerMin != 7 || v.PeerMax != 9 {
		t.Errorf("host: %v", err)
	}

	a, b = net.Pipe()
	go func() {
		go func() { _, _ = io.Copy(io.Discard, a) }()
		_ = writeHello(a, Hello{MinVersion: 7, MaxVersion: 9, Nonce: "n", Window: DefaultWindow})
	}()
	_, err = NewListener(b).Accept(context.Background(), nil, Options{})
	if !errors.As(err, &v) || v.PeerMin != 7 {
		t.Errorf("guest: %v", err)
	}
	a.Close()
}

func TestConnectEndsWithItsContext(t *testing.T) {
	a, _ := net.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := Connect(ctx, a, AttachBoot, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestConnectGivesUpOnGarbage(t *testing.T) {
	a, b := net.Pipe()
	go func() {
		junk := bytes.Repeat([]byte("rV\x01garbage"), 1000)
		for {
			if _, err := b.Write(junk); err != nil {
				return
			}
		}
	}()
	if _, err := Connect(context.Background(), a, AttachBoot, Options{}); !errors.Is(err, ErrNoHello) {
		t.Errorf("got %v", err)
	}
}

// echo answers calls with what the tests need.
func echo(ctx context.Context, method string, params json.RawMessage) (any, error) {
	switch method {
	case "echo":
		return params, nil
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "fail":
		return nil, fmt.Errorf("surrounded: %w", &CallError{Code: CodeAccess, Message: "no"})
	case "long":
		return strings.Repeat("x", MaxMessage), nil
	}
	return nil, errors.New("something broke")
}

func TestCallsBothWays(t *testing.T) {
	cl, g, _ := pair(t, Options{Handler: echo}, Options{Handler: echo})
	for name, c := range map[string]*Conn{"host": cl.Conn, "guest": g} {
		for _, size := range []int{0, 10, MaxPayload, 3*MaxPayload + 17, MaxMessage - 200} {
			want, got := strings.Repeat("é", size/2), ""
			if err := c.Call(context.Background(), "echo", want, &got); err != nil || got != want {
				t.Errorf("%s: echo of %d bytes: %d bytes, %v", name, size, len(got), err)
			}
		}
	}
}

func TestFailedCallsKeepTheirCode(t *testing.T) {
	cl, _, _ := pair(t, Options{}, Options{Handler: echo})
	for method, want := range map[string]Code{"fail": CodeAccess, "other": CodeInternal, "long": CodeTooLarge} {
		var call *CallError
		if err := cl.Call(context.Background(), method, nil, nil); !errors.As(err, &call) || call.Code != want {
			t.Errorf("%s: %v", method, err)
		}
	}
	err := cl.Call(context.Background(), "echo", strings.Repeat("x", MaxMessage), nil)
	if !errors.Is(err, ErrTooLong) {
		t.Errorf("long parameters: %v", err)
	}
	if cl.Err() != nil {
		t.Errorf("the session ended: %v", cl.Err())
	}
}

func TestWithdrawnCallEndsItsHandler(t *testing.T) {
	ended := make(chan struct{})
	cl, g, _ := pair(t, Options{}, Options{Handler: func(ctx context.Context, m string, p json.RawMessage) (any, error) {
		if m == "hang" {
			defer close(ended)
		}
		return echo(ctx, m, p)
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cl.Call(ctx, "hang", nil, nil) }()
	within(t, "the handler to run", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.serving) == 1
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-ended
	if err := cl.Call(context.Background(), "echo", 1, nil); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestTooManyRequestsAreAnsweredBusy(t *testing.T) {
	cl, _, _ := pair(t, Options{}, Options{Handler: echo, MaxRequests: 2})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	results := make(chan error, 3)
	for range 3 {
		go func() { results <- cl.Call(ctx, "hang", nil, nil) }()
	}
	var call *CallError
	if err := <-results; !errors.As(err, &call) || call.Code != CodeBusy {
		t.Errorf("got %v", err)
	}
}

func TestEventsArriveInOrder(t *testing.T) {
	var got []int
	done := make(chan struct{})
	_, g, _ := pair(t, Options{OnEvent: func(_ string, p json.RawMessage) {
		var n int
		_ = json.Unmarshal(p, &n)
		if got = append(got, n); n == 999 {
			close(done)
		}
	}}, Options{})
	for i := range 1000 {
		if err := g.Notify(context.Background(), "count", i); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	for i, n := range got {
		if i != n {
			t.Fatalf("event %d came as number %d", n, i)
		}
	}
}

func size100MB() int {
	if testing.Short() {
		return 5_000_000
	}
	return 100_000_000
}

func TestSlowReaderLosesNothingAndHoldsUpNothing(t *testing.T) {
	cl, g, _ := pair(t, Options{}, Options{Handler: echo})
	h, s := streamPair(t, cl, g)
	stuck, stuckGuest := streamPair(t, cl, g)
	go func() { // a stream that nobody reads
		_, _ = stuckGuest.Write(make([]byte, 4<<20))
	}()
	total := size100MB()
	sent := sha256.New()
	go func() {
		rnd := rand.New(rand.NewSource(1))
		buf := make([]byte, 100_000)
		for left := total; left > 0; {
			n := min(left, 1+rnd.Intn(len(buf)))
			rnd.Read(buf[:n])
			sent.Write(buf[:n])
			if _, err := s.Write(buf[:n]); err != nil {
				return
			}
			left -= n
		}
		s.CloseWrite()
	}()
	got, sum := 0, sha256.New()
	buf := make([]byte, 200_000)
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := 0; ; i++ {
		n, err := h.Read(buf)
		sum.Write(buf[:n])
		got += n
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if i%200 == 0 { // slow, and control goes on meanwhile
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			if err := cl.Call(ctx, "echo", i, nil); err != nil {
				t.Fatal(err)
			}
			cancel()
			time.Sleep(time.Millisecond)
		}
		if h.buffered() > DefaultWindow {
			t.Fatalf("%d bytes are buffered", h.buffered())
		}
	}
	if got != total || !bytes.Equal(sum.Sum(nil), sent.Sum(nil)) {
		t.Errorf("got %d of %d bytes, same bytes: %v", got, total, bytes.Equal(sum.Sum(nil), sent.Sum(nil)))
	}
	if n := stuck.buffered(); n != DefaultWindow {
		t.Errorf("the stream that nobody reads buffers %d bytes, not its window", n)
	}
}

func (s *Stream) buffered() int {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.in.n
}

func TestHalfClose(t *testing.T) {
	cl, g, _ := pair(t, Options{}, Options{})
	h, s := streamPair(t, cl, g)
	if _, err := h.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	h.CloseWrite()
	if b, err := io.ReadAll(s); err != nil || string(b) != "question" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := s.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite()
	if b, err := io.ReadAll(h); err != nil || string(b) != "answer" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := h.Write([]byte("x")); !errors.Is(err, ErrStreamClosed) {
		t.Errorf("write after CloseWrite: %v", err)
	}
	within(t, "both sides to forget the stream", func() bool { return cl.open() == 0 && g.open() == 0 })
}

func (c *Conn) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)
}

func TestReaderThatLeavesStopsTheWriter(t *testing.T) {
	cl, g, _ := pair(t, Options{}, Options{})
	h, s := streamPair(t, cl, g)
	wrote := make(chan error, 1)
	go func() {
		_, err := s.Write(make([]byte, 10<<20))
		wrote <- err
	}()
	if _, err := io.ReadFull(h, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	h.Close()
	if err := <-wrote; !errors.Is(err, ErrStreamStopped) {
		t.Errorf("got %v", err)
	}
	if _, err := h.Read(make([]byte, 1)); !errors.Is(err, ErrStreamClosed) {
		t.Errorf("read after Close: %v", err)
	}
	s.Close()
	within(t, "both sides to forget the stream", func() bool { return cl.open() == 0 && g.open() == 0 })
}

func TestThousandStreams(t *testing.T) {
	cl, g, _ := pair(t, Options{}, Options{})
	var wg sync.WaitGroup
	for i := range 1000 {
		h, s := streamPair(t, cl, g)
		wg.Add(2)
		go func() {
			defer wg.Done()
			_, _ = io.Copy(s, s)
			s.CloseWrite()
		}()
		go func() {
			defer wg.Done()
			want := bytes.Repeat([]byte{byte(i)}, 10*i)
			go func() { _, _ = h.Write(want); h.CloseWrite() }()
			if got, err := io.ReadAll(h); err != nil || !bytes.Equal(got, want) {
				t.Errorf("stream %d: %d bytes of %d, %v", i, len(got), len(want), err)
			}
		}()
	}
	wg.Wait()
	within(t, "all streams to be forgotten", func() bool { return cl.open() == 0 && g.open() == 0 })
}

func TestStreamsAreLimited(t *testing.T) {
	cl, g, _ := pair(t, Options{MaxStreams: 3}, Options{MaxStreams: 2})
	for range 2 {
		streamPair(t, cl, g)
	}
	if _, err := cl.OpenStream(); err != nil { // one more than the guest allows
		t.Fatal(err)
	}
	<-g.Done()
	if !errors.Is(g.Err(), ErrTooManyStreams) {
		t.Errorf("guest: %v", g.Err())
	}
	if _, err := g.OpenStream(); err == nil {
		t.Error("the guest opened a stream")
	}
	if _, err := cl.OpenStream(); !errors.Is(err, ErrTooManyStreams) {
		t.Errorf("host: %v", err)
	}
}

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

// tty is a channel of which the guest's end stays when the host is replaced,
// and shows no hang-up: what hvc0 does.
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

// socketpair is what QEMU and the host share.
func socketpair(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		if conns[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return conns[0], conns[1]
}

func BenchmarkThroughput(b *testing.B) {
	x, y := socketpair(b)
	cl, g, _ := pairOver(b, x, y, Options{}, Options{})
	h, s := streamPair(b, cl, g)
	go func() { _, _ = io.Copy(io.Discard, h) }()
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSmallWrites(b *testing.B) {
	x, y := socketpair(b)
	cl, g, _ := pairOver(b, x, y, Options{}, Options{})
	h, s := streamPair(b, cl, g)
	go func() { _, _ = io.Copy(io.Discard, h) }()
	buf := make([]byte, 80)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	x, y := socketpair(b)
	cl, _, _ := pairOver(b, x, y, Options{}, Options{Handler: echo})
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := cl.Call(context.Background(), "echo", 1, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func TestStreamStoppedWithAllItHadQueuedLeavesTheRestAlone(t *testing.T) {
	cl, g, _ := pair(t, Options{}, Options{Handler: echo})
	for range 200 {
		h, s := streamPair(t, cl, g)
		go func() { _, _ = s.Write(make([]byte, 3000)); s.Close() }()
		h.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.Call(ctx, "echo", 1, nil); err == nil || ctx.Err() != nil {
		t.Errorf("a call of the guest, which the host does not know: %v", err)
	}
	if err := cl.Call(ctx, "echo", 1, nil); err != nil {
		t.Error(err)
	}
}
