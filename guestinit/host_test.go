package main

import (
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"
)

// keptOpen stands for a host process that dies while QEMU, and so the socket,
// lives on.
type keptOpen struct {
	net.Conn
	gone atomic.Bool
}

func (k *keptOpen) leave() {
	k.gone.Store(true)
	_ = k.SetReadDeadline(time.Unix(1, 0))
}

func (k *keptOpen) Close() error {
	if k.gone.Load() {
		return k.SetReadDeadline(time.Time{})
	}
	return k.Conn.Close()
}

func requireKernel(t testing.TB, env string) string {
	t.Helper()
	kernel := os.Getenv(env)
	if kernel == "" {
		t.Skipf("set %s to a kernel image to boot it", env)
	}
	return kernel
}

func stackNow() string { return string(debug.Stack()) }
