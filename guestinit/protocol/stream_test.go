package protocol

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand"
	"runtime"
	"sync"
	"testing"
	"time"
)

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
