package protocol

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Options tune one side of a connection. The zero value is good for a host.
type Options struct {
	// Window is how much of each stream this side buffers; 0 is 256 KiB.
	Window int
	// MaxStreams bounds the streams open at once; 0 is 4096.
	MaxStreams int
	// MaxRequests bounds the peer's requests that are handled at once; more
	// are answered with CodeBusy. 0 is 64.
	MaxRequests int
	// InFlight is how many bytes the channel towards this side holds while
	// they are not read, in pieces of 2 KiB. It matters because QEMU throws
	// away what a guest writes to a virtconsole while the socket behind it is
	// full (hw/char/virtio-console.c, flush_buf), so that the guest must not
	// send more than that ahead. 0 is DefaultInFlight, which fits a Unix
	// socket of Linux's default size; InFlightOf knows what fits a larger
	// one. Negative: the channel loses nothing, as a virtserialport.
	// A guest leaves it 0: QEMU holds back what the host sends.
	InFlight int
	// Keepalive, if not 0, is announced to the peer and kept: something is
	// sent at least that often. A guest has no use for it.
	Keepalive time.Duration
	// Handler answers the peer's requests; without one every method is
	// unknown. It is called in a goroutine of its own; its context ends when
	// the caller withdraws the request, when the answer has been queued, or
	// when the connection ends. An error that
	// is a *CallError reaches the peer as it is, another as CodeInternal.
	Handler func(ctx context.Context, method string, params json.RawMessage) (any, error)
	// OnEvent receives the peer's events in order, on the goroutine that
	// reads the connection: it must not block, and must not call back.
	OnEvent func(event string, params json.RawMessage)
}

// Defaults of Options.
const (
	DefaultWindow      = 256 << 10
	DefaultMaxStreams  = 4096
	DefaultMaxRequests = 64
	DefaultInFlight    = 64 << 10
)

// keepaliveGrace is how many promised intervals may pass in silence.
const keepaliveGrace = 4

func (o Options) withDefaults() Options {
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	o.Window = min(max(o.Window, MinWindow), MaxWindow)
	switch {
	case o.InFlight == 0:
		o.InFlight = DefaultInFlight
	case o.InFlight > 0:
		o.InFlight = min(max(o.InFlight, MinInFlight), MaxInFlight)
	}
	if o.MaxStreams == 0 {
		o.MaxStreams = DefaultMaxStreams
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = DefaultMaxRequests
	}
	return o
}

// Conn is one session over a byte stream. Its methods may be called from any
// goroutine.
type Conn struct {
	rw      io.ReadWriteCloser
	r       *bufio.Reader
	opts    Options
	peer    Hello
	version int
	host    bool // this side allocates streams
	ctx     context.Context
	cancel  context.CancelFunc

	readerDone chan struct{}
	writerDone chan struct{}
	newHello   *Hello // set before readerDone is closed, with ErrNewSession

	mu      sync.Mutex
	changed *sync.Cond // the writer has work, queues have room, or err is set
	err     error
	control frames // in order
	writing bool   // a batch is being written
	pace    pace
	echo    *uint64 // a mark to send back
	ready   []*Stream
	streams map[uint32]*Stream
	lastID  uint32

	calls    map[uint64]chan message
	lastCall uint64
	serving  map[uint64]context.CancelFunc
	partial  []byte // control message of which more is to come
	heard    time.Time
	sent     time.Time
}

// connect opens a session as the host.
func connect(ctx context.Context, rw io.ReadWriteCloser, how Attach, opts Options) (*Conn, error) {
	opts = opts.withDefaults()
	nonce, err := newNonce()
	if err != nil {
		return nil, err
	}
	local := Hello{
		MinVersion: MinVersion, MaxVersion: MaxVersion, Nonce: nonce,
		Window: opts.Window, KeepaliveMillis: int(opts.Keepalive / time.Millisecond),
	}
	if opts.InFlight >= 0 {
		local.InFlight = opts.InFlight
	}
	r := bufio.NewReaderSize(rw, readBufferSize)
	stop := closeOnDone(ctx, rw)
	peer, err := hostHandshake(r, rw, &local, how)
	if !stop() {
		return nil, fmt.Errorf("wait for the guest: %w", context.Cause(ctx))
	}
	if err != nil {
		rw.Close()
		return nil, err
	}
	version, err := agree(local, peer)
	if err != nil {
		rw.Close()
		return nil, err
	}
	return newConn(rw, r, opts, peer, version, true), nil
}

// Listener is the guest's end of a channel. Sessions follow one another on it.
type Listener struct {
	rw        io.ReadWriteCloser
	r         *bufio.Reader
	last      *Conn
	announced bool
}

// NewListener makes a Listener of a channel in raw mode.
func NewListener(rw io.ReadWriteCloser) *Listener {
	return &Listener{rw: rw, r: bufio.NewReaderSize(rw, readBufferSize)}
}

// Accept ends the previous session, if any, and waits for the next: it says
// Hello with info, unless a host has just said its own. A *VersionError or a
// malformed Hello leaves the Listener usable; any other error means that the
// channel is broken. If ctx ends the channel is closed.
func (l *Listener) Accept(ctx context.Context, info *GuestInfo, opts Options) (*Conn, error) {
	opts = opts.withDefaults()
	nonce, err := newNonce()
	if err != nil {
		return nil, err
	}
	var pending *Hello
	if l.last != nil {
		<-l.last.readerDone
		<-l.last.writerDone
		pending, l.last = l.last.newHello, nil
		l.announced = false
	}
	local := Hello{MinVersion: MinVersion, MaxVersion: MaxVersion, Nonce: nonce, Window: opts.Window, Guest: info}
	stop := closeOnDone(ctx, l.rw)
	peer, err := guestHandshake(l.r, l.rw, &local, pending, true)
	if !stop() {
		return nil, fmt.Errorf("wait for the host: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	version, err := agree(local, peer)
	if err != nil {
		return nil, err
	}
	l.last = newConn(l.rw, l.r, opts, peer, version, false)
	return l.last, nil
}

func newConn(rw io.ReadWriteCloser, r *bufio.Reader, opts Options, peer Hello, version int, host bool) *Conn {
	c := &Conn{
		rw: rw, r: r, opts: opts, peer: peer, version: version, host: host,
		readerDone: make(chan struct{}), writerDone: make(chan struct{}),
		streams: map[uint32]*Stream{},
		calls:   map[uint64]chan message{},
		serving: map[uint64]context.CancelFunc{},
		heard:   time.Now(), sent: time.Now(),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.changed = sync.NewCond(&c.mu)
	c.pace.limit = uint64(peer.InFlight)
	go c.readLoop()
	go c.writeLoop()
	if opts.Keepalive > 0 {
		go c.every(opts.Keepalive/2, c.sayIdle)
	}
	if peer.KeepaliveMillis > 0 {
		go c.every(time.Duration(peer.KeepaliveMillis)*time.Millisecond, c.listenForSilence)
	}
	return c
}

// Peer returns the peer's Hello.
func (c *Conn) Peer() Hello { return c.peer }

// Version returns the protocol version of the session.
func (c *Conn) Version() int { return c.version }

// Done is closed when the session has ended; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.ctx.Done() }

// Err returns why the session ended, or nil while it lasts. The end of the
// byte stream is io.EOF.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the session and closes the byte stream. It is idempotent.
func (c *Conn) Close() error {
	c.end(ErrClosed)
	err := c.rw.Close()
	<-c.readerDone
	<-c.writerDone
	return err
}

// Flush waits until all that was queued is handed to the byte stream.
func (c *Conn) Flush(ctx context.Context) error {
	stop := context.AfterFunc(ctx, c.wake)
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && (c.writing || c.pending()) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.changed.Wait()
	}
	return c.err
}

func (c *Conn) wake() {
	c.mu.Lock()
	c.changed.Broadcast()
	c.mu.Unlock()
}

// end records the first reason and wakes all who wait. What has been received
// on streams stays readable.
func (c *Conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.cancel()
	for _, s := range c.streams {
		s.changed.Broadcast()
	}
	for id, answer := range c.calls {
		close(answer)
		delete(c.calls, id)
	}
	c.changed.Broadcast()
}

// fail ends the session for a reason met while reading or writing. The guest
// keeps its channel open, for the next session; the host's is of no more use.
func (c *Conn) fail(err error) {
	c.end(err)
	if c.host {
		c.rw.Close()
	}
}

func (c *Conn) readLoop() {
	defer close(c.readerDone)
	for {
		h, payload, err := nextFrame(c.r)
		if err == nil {
			err = c.receive(h, payload)
		}
		if err != nil {
			c.fail(err)
			return
		}
		if c.Err() != nil {
			return
		}
	}
}

func (c *Conn) receive(h header, payload []byte) error {
	switch h.kind {
	case frameHello:
		hello, err := parseHello(payload)
		if err != nil {
			return err
		}
		c.newHello = &hello
		return ErrNewSession
	case frameControl:
		return c.receiveControl(h, payload)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = time.Now()
	switch h.kind {
	case frameOpen:
		return c.acceptStream(h.stream)
	case frameIdle:
		return nil
	case frameMark:
		mark := binary.LittleEndian.Uint64(payload)
		c.echo = &mark
		c.changed.Broadcast()
		return nil
	case frameEcho:
		defer c.changed.Broadcast()
		return c.pace.echoed(binary.LittleEndian.Uint64(payload))
	}
	s, ok := c.streams[h.stream]
	if !ok {
		if h.stream <= c.lastID {
			return nil // crossed with this side's last frame of the stream
		}
		return fmt.Errorf("%w: stream %d was never opened", ErrFrame, h.stream)
	}
	return s.receive(h, payload)
}

// every calls f at intervals until the session ends.
func (c *Conn) every(d time.Duration, f func(time.Time)) {
	tick := time.NewTicker(max(d, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			f(now)
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *Conn) sayIdle(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.control.size == 0 && now.Sub(c.sent) >= c.opts.Keepalive/2 {
		c.control.add(header{kind: frameIdle}, nil)
		c.changed.Broadcast()
	}
}

func (c *Conn) listenForSilence(now time.Time) {
	c.mu.Lock()
	limit := keepaliveGrace * time.Duration(c.peer.KeepaliveMillis) * time.Millisecond
	silent := now.Sub(c.heard) > limit
	c.mu.Unlock()
	if silent {
		c.fail(fmt.Errorf("%w for %v", ErrPeerSilent, limit))
	}
}

// Ended reports whether err is the ordinary end of a session: the stream was
// closed by either side.
func Ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}
