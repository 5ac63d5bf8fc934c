package protocol

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

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
