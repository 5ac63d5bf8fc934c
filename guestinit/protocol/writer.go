package protocol

import (
	"context"
	"encoding/binary"
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
	batch := make([]byte, 0, maxBatch)
	for {
		batch = c.nextBatch(batch[:0])
		if c.Err() != nil {
			return
		}
		if len(batch) == 0 {
			continue
		}
		if _, err := c.rw.Write(batch); err != nil {
			c.fail(err)
			return
		}
	}
}

// pending reports whether anything may be sent but for the pace.
func (c *Conn) pending() bool {
	return c.echo != nil || len(c.control.queue) > 0 || len(c.ready) > 0
}

// nextBatch waits for work. The batch may be empty: a stream that had something
// to send may have been stopped meanwhile.
func (c *Conn) nextBatch(b []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	if !c.pending() {
		c.changed.Broadcast() // for Flush
	}
	for c.err == nil && !(c.pending() && c.pace.room() >= smallestBatch) {
		c.changed.Wait()
	}
	if c.err != nil {
		return nil
	}
	c.writing = true
	c.sent = time.Now()
	limit := c.pace.room() - markSize
	if c.echo != nil {
		b = appendHeader(b, header{kind: frameEcho, length: 8})
		b = binary.LittleEndian.AppendUint64(b, *c.echo)
		c.echo = nil
	}
	b = c.control.appendTo(b, limit)
	c.changed.Broadcast() // for those who wait to queue more
	if len(c.control.queue) == 0 {
		b = c.appendStreams(b, limit)
	}
	if mark, due := c.pace.spend(len(b)); due {
		b = appendHeader(b, header{kind: frameMark, length: 8})
		b = binary.LittleEndian.AppendUint64(b, mark)
	}
	return b
}

// streamOverhead is what appendFrames may add to a stream's data: the headers
// of stop, credit and data, and the credit.
const streamOverhead = 3*headerSize + 4

// appendStreams lets the streams that have something to send take turns.
func (c *Conn) appendStreams(b []byte, limit int) []byte {
	for len(c.ready) > 0 {
		chunk := limit - len(b) - streamOverhead
		if chunk < piece/2 {
			break
		}
		s := c.ready[0]
		c.ready = c.ready[:copy(c.ready, c.ready[1:])]
		s.queued = false
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
	for wait && c.err == nil && c.control.size > controlHigh {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.changed.Wait()
	}
	switch {
	case c.err != nil:
		return c.err
	case c.control.size > controlMax:
		return ErrBacklog
	}
	for {
		n := min(len(msg), controlPart)
		h := header{kind: frameControl, length: uint32(n)}
		if n < len(msg) {
			h.flags = flagMore
		}
		c.control.add(h, msg[:n])
		msg = msg[n:]
		if len(msg) == 0 {
			break
		}
	}
	c.changed.Broadcast()
	return nil
}
