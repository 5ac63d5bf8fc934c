package protocol

import (
	"context"
	"time"
)

const (
	// maxBatch bounds one write to the channel. Control waits for at most one
	// batch, which on the slowest channel is a few milliseconds.
	maxBatch = 64 << 10
	// streamTurn bounds the data of one stream in a batch while others wait.
	streamTurn = 16 << 10
	// controlHigh is how much queued control makes Call and answers wait.
	controlHigh = 256 << 10
	// controlMax bounds the answers that the reading side queues by itself.
	controlMax = 4 << 20
)

// writeLoop gathers what is ready into as few writes as it can: Linux 2.6.32
// passes each write through in pieces of its own, and a guest pays an exit for
// each.
func (c *Conn) writeLoop() {
	defer close(c.writerDone)
	batch := make([]byte, 0, maxBatch+2*headerSize)
	for {
		batch = c.nextBatch(batch[:0])
		if len(batch) == 0 {
			return
		}
		if _, err := c.rw.Write(batch); err != nil {
			c.fail(err)
			return
		}
	}
}

// nextBatch waits for work; an empty batch means that the session is over.
func (c *Conn) nextBatch(b []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	if len(c.control) == 0 && len(c.ready) == 0 {
		c.changed.Broadcast() // for Flush
	}
	for len(c.control) == 0 && len(c.ready) == 0 && c.err == nil {
		c.changed.Wait()
	}
	if c.err != nil {
		return nil
	}
	c.writing = true
	c.sent = time.Now()
	if n := len(c.control); n > 0 {
		// A part of a frame may be cut off here: the rest comes first in the
		// next batch.
		n = min(n, maxBatch)
		b = append(b, c.control[:n]...)
		c.control = c.control[:copy(c.control, c.control[n:])]
		if len(c.control) == 0 && cap(c.control) > controlHigh {
			c.control = nil
		}
		c.changed.Broadcast()
		if len(c.control) > 0 {
			return b
		}
	}
	for len(c.ready) > 0 && len(b) < maxBatch-streamTurn/4 {
		s := c.ready[0]
		c.ready = c.ready[:copy(c.ready, c.ready[1:])]
		s.queued = false
		chunk := maxBatch - len(b)
		if len(c.ready) > 0 {
			chunk = min(chunk, streamTurn)
		}
		b = s.appendFrames(b, chunk)
		s.schedule()
	}
	return b
}

// enqueue frames a message for the writer, whole. wait holds the caller back
// while much is queued; the reading goroutine must not wait.
func (c *Conn) enqueue(ctx context.Context, msg []byte, wait bool) error {
	if len(msg) > MaxMessage {
		return ErrTooLong
	}
	if wait {
		stop := context.AfterFunc(ctx, c.wake)
		defer stop()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for wait && c.err == nil && len(c.control) > controlHigh {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.changed.Wait()
	}
	switch {
	case c.err != nil:
		return c.err
	case len(c.control) > controlMax:
		return ErrBacklog
	}
	for {
		n := min(len(msg), MaxPayload)
		h := header{kind: frameControl, length: uint32(n)}
		if n < len(msg) {
			h.flags = flagMore
		}
		c.control = append(appendHeader(c.control, h), msg[:n]...)
		msg = msg[n:]
		if len(msg) == 0 {
			break
		}
	}
	c.changed.Broadcast()
	return nil
}
