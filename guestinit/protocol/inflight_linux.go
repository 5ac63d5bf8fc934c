package protocol

import (
	"fmt"
	"syscall"
)

// InFlightOf returns the Options.InFlight for a channel that leads through a
// Unix stream socket whose QEMU end has this send buffer, as getsockopt(2)
// returns SO_SNDBUF. Each piece of 2 KiB takes twice that of the buffer, with
// the kernel's bookkeeping (net/core/skbuff.c: the data and its shared info are
// rounded up to a power of two, and the sk_buff itself counts as well).
func InFlightOf(sendBuffer int) int {
	const pieceInBuffer = 5 << 10
	return min(max(sendBuffer/pieceInBuffer*piece, MinInFlight), MaxInFlight)
}

// WidenSocket enlarges the send buffer of the end of a Unix socket pair that
// QEMU gets, so that a guest need not wait for the host as often, and returns
// the Options.InFlight that goes with it. Without privilege the kernel's
// net.core.wmem_max is the limit.
func WidenSocket(qemu syscall.RawConn) (inFlight int, err error) {
	const wanted = 2 << 20
	var inner error
	err = qemu.Control(func(fd uintptr) {
		if syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUFFORCE, wanted) != nil {
			inner = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, wanted)
		}
		if inner != nil {
			return
		}
		var size int
		size, inner = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
		inFlight = InFlightOf(size)
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return 0, fmt.Errorf("widen the channel's socket: %w", err)
	}
	return inFlight, nil
}
