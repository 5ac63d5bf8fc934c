package protocol

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// seedFrames are conversations that get past the Hello.
func seedFrames() [][]byte {
	hello := func(peer string) []byte {
		var b bytes.Buffer
		_ = writeHello(&b, Hello{MinVersion: 1, MaxVersion: 1, Nonce: "x", Peer: peer, Window: MinWindow})
		return b.Bytes()
	}
	frame := func(kind frameType, flags uint8, stream uint32, payload string) []byte {
		return append(appendHeader(nil, header{kind, flags, stream, uint32(len(payload))}), payload...)
	}
	credit := string(binary.LittleEndian.AppendUint32(nil, 4096))
	all := [][]byte{
		frame(frameOpen, 0, 1, ""), frame(frameData, 0, 1, "bytes"), frame(frameData, flagEOF, 1, ""),
		frame(frameCredit, 0, 1, credit), frame(frameStop, 0, 1, ""), frame(frameIdle, 0, 0, ""),
		frame(frameControl, 0, 0, `{"id":1,"method":"echo","params":[1]}`),
		frame(frameControl, flagMore, 0, `{"id":2,`), frame(frameControl, 0, 0, `"method":"hang"}`),
		frame(frameControl, 0, 0, `{"id":1,"result":{"pid":3}}`),
		frame(frameControl, 0, 0, `{"event":"exited","params":{"id":"job-1","code":3}}`),
		frame(frameControl, 0, 0, `{"cancel":2}`),
		frame(frameData, 0, 9, "never opened"), frame(99, 0, 0, ""), hello("y"),
		appendHeader(nil, header{frameData, 0, 1, 1 << 31}),
	}
	seeds := [][]byte{nil, hello(""), bytes.Join(append([][]byte{hello("")}, all...), nil)}
	for _, f := range all {
		seeds = append(seeds, append(hello(""), f...))
	}
	return seeds
}

// FuzzConn is a hostile peer in both directions: whatever it sends, a side
// neither panics nor hangs, ends with a typed error, leaves no goroutine and
// buffers no more than its limits allow.
func FuzzConn(f *testing.F) {
	for _, seed := range seedFrames() {
		f.Add(seed)
	}
	opts := Options{Window: MinWindow, MaxStreams: 8, MaxRequests: 4, Handler: echo}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := runtime.NumGoroutine()
		host := attack(t, data, func(ctx context.Context, rw net.Conn) (*Conn, error) {
			cl, err := Connect(ctx, rw, AttachBoot, opts)
			if err != nil {
				return nil, err
			}
			if s, err := cl.OpenStream(); err == nil {
				go func() { _, _ = s.Write(make([]byte, 100_000)) }()
			}
			return cl.Conn, nil
		})
		guest := attack(t, data, func(ctx context.Context, rw net.Conn) (*Conn, error) {
			return NewListener(rw).Accept(ctx, &GuestInfo{}, opts)
		})
		for _, c := range []*Conn{host, guest} {
			if c != nil {
				checkLimits(t, c)
			}
		}
		within(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	})
}

// attack sends data, hangs up, and returns the connection that came about.
func attack(t *testing.T, data []byte, open func(context.Context, net.Conn) (*Conn, error)) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ours, theirs := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	go func() {
		_, _ = theirs.Write(data)
		theirs.Close()
	}()
	c, err := open(ctx, ours)
	if err != nil {
		if ctx.Err() != nil {
			t.Fatalf("hung: %v", err)
		}
		ours.Close()
		return nil
	}
	select {
	case <-c.Done():
	case <-ctx.Done():
		t.Fatal("hung")
	}
	err = c.Err()
	known := false
	for _, want := range []error{io.EOF, io.ErrClosedPipe, ErrBacklog, ErrFlowControl, ErrFrame, ErrMessage, ErrNewSession, ErrPeerSilent, ErrTooManyStreams} {
		known = known || errors.Is(err, want)
	}
	if !known {
		t.Fatalf("ended with %v", err)
	}
	c.Close()
	return c
}

func checkLimits(t *testing.T, c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) > c.opts.MaxStreams {
		t.Errorf("%d streams", len(c.streams))
	}
	for _, s := range c.streams {
		if len(s.in.buf) > c.opts.Window || len(s.out.buf) > sendBuffer {
			t.Errorf("stream buffers of %d and %d", len(s.in.buf), len(s.out.buf))
		}
	}
	if len(c.partial) > MaxMessage || c.control.size > controlMax+2*MaxMessage {
		t.Errorf("control buffers of %d and %d", len(c.partial), c.control.size)
	}
}

func FuzzFrame(f *testing.F) {
	for _, seed := range seedFrames() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(data), readBufferSize)
		for {
			h, payload, err := nextFrame(r)
			if err != nil {
				return
			}
			again := append(appendHeader(nil, h), payload...)
			if !bytes.HasPrefix(data, again) {
				t.Fatalf("frame %+v is not what was read", h)
			}
			data = data[len(again):]
		}
	})
}

func FuzzHello(f *testing.F) {
	for _, seed := range seedFrames() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := readHello(bufio.NewReaderSize(bytes.NewReader(data), readBufferSize), MaxPreamble)
		if err == nil && (h.Window < MinWindow || h.Window > MaxWindow || h.MinVersion < 1) {
			t.Fatalf("accepted %+v", h)
		}
	})
}
