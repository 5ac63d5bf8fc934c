package main

import (
	"net"
	"os"
	"runtime/debug"
	"testing"
	"time"
)

// keptOpen stands for a host process that dies while QEMU, and so the socket,
// lives on.
type keptOpen struct {
	net.Conn
}

// Close ends reading and leaves the socket open.
func (k keptOpen) Close() error { return k.SetReadDeadline(time.Unix(1, 0)) }

func requireKernel(t testing.TB, env string) string {
	t.Helper()
	kernel := os.Getenv(env)
	if kernel == "" {
		t.Skipf("set %s to a kernel image to boot it", env)
	}
	return kernel
}

func stackNow() string { return string(debug.Stack()) }
