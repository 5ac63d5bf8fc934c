package machine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage bounds one line of QMP. QEMU's longest answers (query-qmp-schema)
// are below 1 MiB; a longer one than this is taken for a broken or hostile
// QEMU.
const maxMessage = 8 << 20

// eventBacklog is how many events a subscriber may be behind.
const eventBacklog = 256

// Event is a QMP event (QEMU's docs/interop/qmp-spec.txt, 2.5).
type Event struct {
	Name string
	Data json.RawMessage
	Time time.Time
}

// QMPError is a command's refusal by QEMU. It can be got at with [errors.As].
type QMPError struct {
	Command string
	Class   string // "GenericError", "CommandNotFound", "DeviceNotFound", ...
	Desc    string
}

func (e *QMPError) Error() string { return fmt.Sprintf("QEMU refused %s: %s", e.Command, e.Desc) }

// QMP is a client of the QEMU Machine Protocol on one connection. Its methods
// may be called at the same time.
//
// github.com/digitalocean/go-qemu is not used: it can only dial a path, has no
// contexts, and stops reading answers while an event is not taken.
type QMP struct {
	conn    net.Conn
	onEvent func(Event)

	writing sync.Mutex // one command on the wire at a time

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan message
	subs    map[chan Event]bool
	err     error // why reading ended
	closed  chan struct{}
}

// message is anything that QEMU sends.
type message struct {
	Greeting  *json.RawMessage `json:"QMP"`
	Event     string           `json:"event"`
	Data      json.RawMessage  `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	ID *uint64 `json:"id"`
}

// NewQMP waits for QEMU's greeting on conn, leaves capabilities negotiation and
// reads until the connection ends. onEvent, if not nil, sees each event before
// any subscriber and before the answers that follow it; it must not block. The
// QMP owns conn; conn is closed when NewQMP fails.
func NewQMP(ctx context.Context, conn net.Conn, onEvent func(Event)) (*QMP, error) {
	q := &QMP{
		conn: conn, onEvent: onEvent,
		pending: map[uint64]chan message{}, subs: map[chan Event]bool{},
		closed: make(chan struct{}),
	}
	greeting := make(chan message, 1)
	go q.read(greeting)
	select {
	case <-greeting:
	case <-q.closed:
		return nil, fmt.Errorf("wait for QMP's greeting: %w", q.err)
	case <-ctx.Done():
		q.Close()
		return nil, fmt.Errorf("wait for QMP's greeting: %w", context.Cause(ctx))
	}
	if err := q.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		q.Close()
		return nil, err
	}
	return q, nil
}

// Execute runs a command and decodes what it returns into result, which may be
// nil. args is any value that encodes as a JSON object, or nil. files are passed
// along, for commands like getfd and add-fd.
func (q *QMP) Execute(ctx context.Context, command string, args, result any, files ...*os.File) error {
	reply := make(chan message, 1)
	q.mu.Lock()
	q.next++
	id := q.next
	q.pending[id] = reply
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		delete(q.pending, id)
		q.mu.Unlock()
	}()

	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        uint64 `json:"id"`
	}{command, args, id})
	if err != nil {
		return fmt.Errorf("encode %s for QEMU: %w", command, err)
	}
	if err := q.write(ctx, append(line, '\n'), files); err != nil {
		return fmt.Errorf("send %s to QEMU: %w", command, err)
	}
	select {
	case m := <-reply:
		return m.decode(command, result)
	case <-ctx.Done():
		return fmt.Errorf("wait for QEMU's answer to %s: %w", command, context.Cause(ctx))
	case <-q.closed:
	}
	// The answer to quit and the end of the connection come together.
	select {
	case m := <-reply:
		return m.decode(command, result)
	default:
		return fmt.Errorf("wait for QEMU's answer to %s: %w", command, q.err)
	}
}

func (m *message) decode(command string, result any) error {
	if m.Error != nil {
		return &QMPError{Command: command, Class: m.Error.Class, Desc: m.Error.Desc}
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("decode QEMU's answer to %s: %w", command, err)
	}
	return nil
}

// write sends one line. A command that was half sent when its context ended
// would garble the next, so the connection is closed then.
func (q *QMP) write(ctx context.Context, line []byte, files []*os.File) error {
	q.writing.Lock()
	defer q.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { q.Close() })
	defer stop()
	if len(files) == 0 {
		_, err := q.conn.Write(line)
		return err
	}
	socket, ok := q.conn.(*net.UnixConn)
	if !ok {
		return errors.New("files can be passed over a unix socket only")
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	n, _, err := socket.WriteMsgUnix(line, unix.UnixRights(fds...), nil)
	if err == nil && n < len(line) {
		_, err = socket.Write(line[n:])
	}
	return err
}

// Subscribe gives the events from now on. Its channel is closed when the
// connection ends, when cancel is called, and when the subscriber is 256 events
// behind, so that nobody acts on a stream with a hole in it.
func (q *QMP) Subscribe() (events <-chan Event, cancel func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := make(chan Event, eventBacklog)
	if q.subs == nil {
		close(c)
		return c, func() {}
	}
	q.subs[c] = true
	return c, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.drop(c)
	}
}

func (q *QMP) drop(c chan Event) {
	if q.subs[c] {
		delete(q.subs, c)
		close(c)
	}
}

// Done is closed when the connection has ended.
func (q *QMP) Done() <-chan struct{} { return q.closed }

// Close ends the connection. QEMU runs on.
func (q *QMP) Close() error { return q.conn.Close() }

// read handles what QEMU sends until the connection ends.
func (q *QMP) read(greeting chan<- message) {
	err := readMessages(q.conn, func(m message) {
		switch {
		case m.Greeting != nil:
			select {
			case greeting <- m:
			default: // a second greeting says nothing
			}
		case m.Event != "":
			q.publish(Event{Name: m.Event, Data: m.Data,
				Time: time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*1000)})
		case m.ID != nil:
			q.answer(*m.ID, m)
		}
	})
	q.conn.Close()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
	for c := range q.subs {
		q.drop(c)
	}
	q.subs = nil
	close(q.closed)
}

func (q *QMP) answer(id uint64, m message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if reply, ok := q.pending[id]; ok {
		delete(q.pending, id)
		reply <- m // has room for one, and is sent one
	}
}

func (q *QMP) publish(e Event) {
	if q.onEvent != nil {
		q.onEvent(e)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for c := range q.subs {
		select {
		case c <- e:
		default:
			q.drop(c)
		}
	}
}

// readMessages calls handle for each line of r that is a message, and returns
// why it ended; io.EOF becomes [ErrExited]. A line that is not JSON ends it,
// since whatever follows cannot be trusted to be in step.
func readMessages(r io.Reader, handle func(message)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxMessage)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("QMP: not a message: %w", err)
		}
		handle(m)
	}
	err := lines.Err()
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ECONNRESET) {
		return ErrExited
	}
	return fmt.Errorf("QMP: %w", err)
}
