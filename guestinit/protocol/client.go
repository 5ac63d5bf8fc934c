package protocol

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// Client is the host's side of a session: a Conn that knows the methods.
type Client struct {
	*Conn

	onEvent func(string, json.RawMessage)
	mu      sync.Mutex
	jobs    map[string]*Job
	lastJob uint64
}

// Connect opens a session as the host: it waits for the guest's Hello until
// ctx ends. It owns rw from now on, and closes it if it fails. Options.OnEvent
// receives the events that the Client has no use for itself.
func Connect(ctx context.Context, rw io.ReadWriteCloser, how Attach, opts Options) (*Client, error) {
	cl := &Client{jobs: map[string]*Job{}, onEvent: opts.OnEvent}
	opts.OnEvent = cl.event
	conn, err := connect(ctx, rw, how, opts)
	if err != nil {
		return nil, err
	}
	cl.Conn = conn
	return cl, nil
}

// Guest returns what process 1 said about itself.
func (cl *Client) Guest() *GuestInfo {
	if g := cl.Peer().Guest; g != nil {
		return g
	}
	return &GuestInfo{}
}

func (cl *Client) event(event string, params json.RawMessage) {
	if event == EventExited {
		var e Exited
		if json.Unmarshal(params, &e) == nil && cl.exited(e) {
			return
		}
	}
	if cl.onEvent != nil {
		cl.onEvent(event, params)
	}
}

func (cl *Client) exited(e Exited) bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	j, ok := cl.jobs[e.ID]
	if !ok {
		return false
	}
	delete(cl.jobs, e.ID)
	j.exit = e
	close(j.done)
	return true
}

// Configure gives the guest its time, entropy and identity.
func (cl *Client) Configure(ctx context.Context, p Configure) error {
	return cl.Call(ctx, MethodConfigure, p, nil)
}

// Mount mounts a file system in the guest.
func (cl *Client) Mount(ctx context.Context, p Mount) error {
	return cl.Call(ctx, MethodMount, p, nil)
}

// Unmount undoes a mount.
func (cl *Client) Unmount(ctx context.Context, p Unmount) error {
	return cl.Call(ctx, MethodUnmount, p, nil)
}

// Poweroff asks the guest to end. The machine is down when its QEMU exits.
func (cl *Client) Poweroff(ctx context.Context, p Poweroff) error {
	return cl.Call(ctx, MethodPoweroff, p, nil)
}

// Ping returns the time of a round trip.
func (cl *Client) Ping(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	err := cl.Call(ctx, MethodPing, Ping{}, nil)
	return time.Since(start), err
}

// ReadFile reads up to MaxFile bytes of a guest's file.
func (cl *Client) ReadFile(ctx context.Context, p ReadFile) (FileData, error) {
	var d FileData
	err := cl.Call(ctx, MethodReadFile, p, &d)
	return d, err
}

// WriteFile writes a guest's file.
func (cl *Client) WriteFile(ctx context.Context, p WriteFile) error {
	return cl.Call(ctx, MethodWriteFile, p, nil)
}

// Stats returns the guest's memory, load and, if asked for, processes.
func (cl *Client) Stats(ctx context.Context, p StatsRequest) (Stats, error) {
	var s Stats
	err := cl.Call(ctx, MethodStats, p, &s)
	return s, err
}

// Pipes says which of a job's streams to open; the others are /dev/null.
type Pipes struct {
	Stdin, Stdout, Stderr bool
}

// Job is a program that was started in the guest.
type Job struct {
	ID  string
	PID int
	// The streams asked for; nil where not. Whoever asked reads Stdout and
	// Stderr to their end, or closes them.
	Stdin, Stdout, Stderr *Stream

	cl   *Client
	done chan struct{}
	exit Exited
}

// Start starts a program. An empty p.ID is filled in; the stream ids are set
// from pipes. A *CallError says why it did not start, see
// CallError.ExitStatus.
func (cl *Client) Start(ctx context.Context, p Start, pipes Pipes) (*Job, error) {
	j := &Job{cl: cl, done: make(chan struct{})}
	cl.mu.Lock()
	if p.ID == "" {
		cl.lastJob++
		p.ID = "job-" + strconv.FormatUint(cl.lastJob, 10)
	}
	if _, taken := cl.jobs[p.ID]; taken {
		cl.mu.Unlock()
		return nil, &CallError{Method: MethodStart, Code: CodeConflict, Message: fmt.Sprintf("job %q exists", p.ID)}
	}
	cl.jobs[p.ID] = j
	cl.mu.Unlock()
	j.ID = p.ID

	err := j.open(&p, pipes)
	if err == nil {
		var started Started
		err = cl.Call(ctx, MethodStart, p, &started)
		j.PID = started.PID
	}
	if err != nil {
		cl.mu.Lock()
		if cl.jobs[p.ID] == j {
			delete(cl.jobs, p.ID)
		}
		cl.mu.Unlock()
		j.closeStreams()
		return nil, err
	}
	return j, nil
}

func (j *Job) open(p *Start, pipes Pipes) error {
	for _, want := range []struct {
		wanted bool
		stream **Stream
		id     *uint32
	}{
		{pipes.Stdin, &j.Stdin, &p.Stdin},
		{pipes.Stdout, &j.Stdout, &p.Stdout},
		{pipes.Stderr, &j.Stderr, &p.Stderr},
	} {
		if !want.wanted {
			continue
		}
		s, err := j.cl.OpenStream()
		if err != nil {
			return fmt.Errorf("start %s: %w", p.ID, err)
		}
		*want.stream, *want.id = s, s.ID()
	}
	return nil
}

func (j *Job) closeStreams() {
	for _, s := range []*Stream{j.Stdin, j.Stdout, j.Stderr} {
		if s != nil {
			s.Close()
		}
	}
}

// Done is closed when the job has exited.
func (j *Job) Done() <-chan struct{} { return j.done }

// Wait returns how the job ended, or why that cannot be known any more.
func (j *Job) Wait(ctx context.Context) (Exited, error) {
	select {
	case <-j.done:
		return j.exit, nil
	default:
	}
	select {
	case <-j.done:
		return j.exit, nil
	case <-ctx.Done():
		return Exited{}, fmt.Errorf("wait for %s: %w", j.ID, context.Cause(ctx))
	case <-j.cl.Done():
		// The last message may have been the exit.
		select {
		case <-j.done:
			return j.exit, nil
		default:
			return Exited{}, fmt.Errorf("wait for %s: %w", j.ID, j.cl.Err())
		}
	}
}

// Signal sends a signal to the job's process, or to its process group.
func (j *Job) Signal(ctx context.Context, sig int, group bool) error {
	return j.cl.Call(ctx, MethodSignal, Signal{ID: j.ID, Signal: sig, Group: group}, nil)
}

// Resize changes the size of the job's terminal.
func (j *Job) Resize(ctx context.Context, size Size) error {
	return j.cl.Call(ctx, MethodResize, Resize{ID: j.ID, Size: size}, nil)
}

// StdIO is what Run connects a program to; nil is /dev/null.
type StdIO struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Started is called with the job, to signal or resize it.
	Started func(*Job)
	// Linger bounds how long output is awaited after the program exited while
	// a child of it keeps the pipe open; 0 waits for the end of file.
	Linger time.Duration
}

// Run starts a program, feeds it and returns how it ended, after the end of
// its output. If ctx ends, the program is killed. A Read of Stdin may go on
// after Run has returned, and what it reads is lost.
func (cl *Client) Run(ctx context.Context, p Start, stdio StdIO) (Exited, error) {
	j, err := cl.Start(ctx, p, Pipes{stdio.Stdin != nil, stdio.Stdout != nil, stdio.Stderr != nil})
	if err != nil {
		return Exited{}, err
	}
	defer j.closeStreams()
	if stdio.Started != nil {
		stdio.Started(j)
	}
	if j.Stdin != nil {
		go func() {
			_, _ = io.Copy(j.Stdin, stdio.Stdin) // the program stopped reading
			j.Stdin.CloseWrite()
		}()
	}
	outputs := j.copyOut(stdio)
	exit, err := j.Wait(ctx)
	if err != nil {
		if cl.Err() == nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
			defer cancel()
			_ = j.Signal(last, 9, true) // it may have exited meanwhile
		}
		return Exited{}, err
	}
	var linger <-chan time.Time
	if stdio.Linger > 0 {
		t := time.NewTimer(stdio.Linger)
		defer t.Stop()
		linger = t.C
	}
	select {
	case err = <-outputs:
	case <-linger:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return exit, err
}

// killTimeout bounds the last words to a job whose caller has gone.
const killTimeout = 2 * time.Second

// copyOut copies both outputs and then sends the first error, or nil.
func (j *Job) copyOut(stdio StdIO) <-chan error {
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	pump := func(w io.Writer, s *Stream, name string) {
		if s == nil {
			return
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := io.Copy(w, s); err != nil {
				errs <- fmt.Errorf("%s of %s: %w", name, j.ID, err)
				s.Close()
			}
		}()
	}
	pump(stdio.Stdout, j.Stdout, "stdout")
	pump(stdio.Stderr, j.Stderr, "stderr")
	result := make(chan error, 1)
	go func() {
		wg.Wait()
		close(errs)
		result <- <-errs
	}()
	return result
}
