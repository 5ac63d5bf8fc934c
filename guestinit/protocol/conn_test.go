package protocol

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
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

// tty is a channel of which the guest's end stays when the host is replaced,

// and shows no hang-up: what hvc0 does.

// socketpair is what QEMU and the host share.
