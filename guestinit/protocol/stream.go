package protocol

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// sendBuffer bounds what Write has taken and the peer has not.
const sendBuffer = 64 << 10

// Stream is one byte stream of a Conn, with an end of file of its own in each
// direction. Reading and writing may go on at once, each by one goroutine.
type Stream struct {
	c  *Conn
	id uint32

	// All below is guarded by c.mu.
	changed *sync.Cond
	taken   bool
	queued  bool // is in c.ready
	closed  bool

	in       ring
	inEOF    bool
	allowed  int // how much the peer may still send
	consumed int // read since credit was last given
	giveBack bool

	out     ring
	credit  int
	outEOF  bool // CloseWrite was called
	eofSent bool
	stopped bool // the peer reads no more

	sendStop bool
	stopSent bool
}

func (c *Conn) newStream(id uint32) *Stream {
	s := &Stream{
		c: c, id: id, changed: sync.NewCond(&c.mu),
		in: ring{max: c.opts.Window}, allowed: c.opts.Window,
		out: ring{max: sendBuffer}, credit: c.peer.Window,
	}
	c.streams[id] = s
	return s
}

// OpenStream allocates a stream; only the host does. Its ID is named in the
// request that uses it.
func (c *Conn) OpenStream() (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil, c.err
	case !c.host:
		return nil, fmt.Errorf("open a stream: only the host does: %w", ErrStreamID)
	case len(c.streams) >= c.opts.MaxStreams:
		return nil, ErrTooManyStreams
	case c.lastID == ^uint32(0):
		return nil, fmt.Errorf("open a stream: ids are used up: %w", ErrTooManyStreams)
	}
	c.lastID++
	s := c.newStream(c.lastID)
	s.taken = true
	c.control.add(header{kind: frameOpen, stream: s.id}, nil)
	c.changed.Broadcast()
	return s, nil
}

// acceptStream registers a stream before the request that names it arrives.
func (c *Conn) acceptStream(id uint32) error {
	switch {
	case c.host:
		return fmt.Errorf("%w: the guest opened stream %d", ErrFrame, id)
	case id <= c.lastID:
		return fmt.Errorf("%w: stream %d was opened before", ErrFrame, id)
	case len(c.streams) >= c.opts.MaxStreams:
		return ErrTooManyStreams
	}
	c.lastID = id
	c.newStream(id)
	return nil
}

// TakeStream returns a stream that the host opened, once.
func (c *Conn) TakeStream(id uint32) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.streams[id]
	if !ok || s.taken {
		return nil, fmt.Errorf("stream %d: %w", id, ErrStreamID)
	}
	s.taken = true
	return s, nil
}

// ID returns what the stream is called in control messages.
func (s *Stream) ID() uint32 { return s.id }

// Read implements io.Reader. io.EOF means that the peer closed its direction;
// when the session ends first, what had arrived is read before its error.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for s.in.n == 0 {
		switch {
		case s.closed:
			return 0, ErrStreamClosed
		case s.inEOF:
			return 0, io.EOF
		case s.c.err != nil:
			return 0, s.c.err
		}
		s.changed.Wait()
	}
	if s.closed {
		return 0, ErrStreamClosed
	}
	n := s.in.read(p)
	s.consumed += n
	if s.inEOF {
		if s.in.n == 0 {
			s.in.free()
		}
	} else if s.consumed >= s.in.max/4 {
		s.giveBack = true
		s.schedule()
	}
	return n, nil
}

// Write implements io.Writer. It returns when the bytes are queued, which is
// bounded, not when the peer has them.
func (s *Stream) Write(p []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	written := 0
	for {
		switch {
		case s.closed || s.outEOF:
			return written, ErrStreamClosed
		case s.stopped:
			return written, ErrStreamStopped
		case s.c.err != nil:
			return written, s.c.err
		}
		n := s.out.write(p[written:])
		written += n
		if n > 0 && s.credit > 0 {
			s.schedule()
		}
		if written == len(p) {
			return written, nil
		}
		s.changed.Wait()
	}
}

// CloseWrite ends this side's direction, after all that was written. It is
// idempotent.
func (s *Stream) CloseWrite() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.closeWrite()
	return nil
}

func (s *Stream) closeWrite() {
	if !s.outEOF {
		s.outEOF = true
		s.changed.Broadcast()
		s.schedule()
	}
}

// Close ends this side's direction as CloseWrite does, and tells the peer that
// nothing more is read. It is idempotent and does not wait.
func (s *Stream) Close() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.closeWrite()
	s.in.free()
	if !s.inEOF {
		s.sendStop = true
		s.schedule()
	}
	s.changed.Broadcast()
	s.retire()
	return nil
}

func (s *Stream) receive(h header, payload []byte) error {
	switch h.kind {
	case frameData:
		return s.receiveData(h, payload)
	case frameCredit:
		n := binary.LittleEndian.Uint32(payload)
		if n > MaxWindow || s.credit+int(n) > MaxWindow {
			return fmt.Errorf("%w: credit of stream %d over %d", ErrFlowControl, s.id, MaxWindow)
		}
		s.credit += int(n)
		s.schedule()
	case frameStop:
		s.stopped = true
		s.out.free()
		s.changed.Broadcast()
		s.retire()
	}
	return nil
}

func (s *Stream) receiveData(h header, payload []byte) error {
	if s.inEOF {
		return fmt.Errorf("%w: data on stream %d after its end", ErrFrame, s.id)
	}
	if len(payload) > s.allowed {
		return fmt.Errorf("%w: %d bytes on stream %d, which had credit for %d", ErrFlowControl, len(payload), s.id, s.allowed)
	}
	s.allowed -= len(payload)
	s.inEOF = h.flags&flagEOF != 0
	if !s.closed {
		s.in.write(payload)
		s.changed.Broadcast()
	}
	s.retire()
	return nil
}

// schedule lets the writer look at the stream.
func (s *Stream) schedule() {
	if s.queued || s.c.err != nil || !s.sendable() {
		return
	}
	s.queued = true
	s.c.ready = append(s.c.ready, s)
	s.c.changed.Broadcast()
}

func (s *Stream) sendable() bool {
	return s.sendStop && !s.stopSent ||
		s.giveBack && !s.inEOF && !s.closed ||
		!s.eofSent && !s.stopped && (s.out.n > 0 && s.credit > 0 || s.out.n == 0 && s.outEOF)
}

// retire forgets a stream of which neither side has more to say.
func (s *Stream) retire() {
	sendDone := s.eofSent || s.stopped
	receiveDone := s.inEOF || s.stopSent
	if sendDone && receiveDone {
		delete(s.c.streams, s.id)
	}
}

// appendFrames moves what may be sent onto the batch: at most chunk bytes of
// data, so that streams take turns.
func (s *Stream) appendFrames(b []byte, chunk int) []byte {
	if s.sendStop && !s.stopSent {
		b = appendHeader(b, header{kind: frameStop, stream: s.id})
		s.stopSent = true
	}
	if s.giveBack && !s.inEOF && !s.closed {
		b = appendHeader(b, header{kind: frameCredit, stream: s.id, length: 4})
		b = binary.LittleEndian.AppendUint32(b, uint32(s.consumed))
		s.allowed += s.consumed
		s.consumed = 0
	}
	s.giveBack = false
	if !s.eofSent && !s.stopped {
		n := min(s.out.n, s.credit, chunk)
		last := s.outEOF && n == s.out.n
		if n > 0 || last {
			h := header{kind: frameData, stream: s.id, length: uint32(n)}
			if last {
				h.flags = flagEOF
				s.eofSent = true
			}
			b = appendHeader(b, h)
			b = s.out.appendTo(b, n)
			s.credit -= n
			s.changed.Broadcast()
			if last {
				s.out.free()
			}
		}
	}
	s.retire()
	return b
}
