package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is one running QEMU. Its methods may be called from any goroutine.
type Machine struct {
	cmd     *exec.Cmd
	accel   Accel
	limits  Limits
	qmp     *QMP
	channel net.Conn
	console *console
	stderr  *lastBytes
	started time.Time
	// memory is the guest's, and floor what its kernel needs to unpack itself.
	memory, floor int64

	consoleDone chan struct{}
	over        chan struct{} // closed at the first final console line
	done        chan struct{} // closed when exit is set

	mu       sync.Mutex
	judge    judge
	isOver   bool
	booted   bool   // the hello was heard
	shutdown string // reason of QMP's SHUTDOWN event
	killed   bool   // by this process
	exit     Exit
}

// Start runs QEMU and returns when it answers on QMP; the guest then boots
// (unless cfg.Paused). When ctx ends QEMU is killed. QEMU is also killed by the
// host's kernel when this process dies.
//
// QEMU inherits nothing but what it is meant to: Start marks every file of this
// process close-on-exec, its standard ones excepted, and passes an environment
// of its own.
//
// A [BootError] of kind [QEMU] says that QEMU did not start; an error that wraps
// [ErrConfig], [ErrQEMUMissing] or [ErrNoKVM] that it was not tried.
func Start(ctx context.Context, cfg Config) (*Machine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	accel, err := chooseAccel(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	m := &Machine{
		accel: accel, limits: cfg.Limits, memory: int64(cfg.MemoryMiB) << 20,
		judge: judge{signs: signs()}, stderr: &lastBytes{},
		consoleDone: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{}),
	}
	m.console = newConsole(cfg.ConsoleLines, cfg.ConsoleLog, m.readLine)

	w, err := wire(&cfg)
	if err != nil {
		return nil, err
	}
	if err := m.launch(&cfg, w); err != nil {
		w.closeAll()
		return nil, err
	}
	w.closeTheirs()
	m.channel, m.floor = w.channel, w.floor
	go m.killAtEnd(ctx)
	go m.watchConsole(w.console)
	if err := m.connect(ctx, w.qmp); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Machine) killAtEnd(ctx context.Context) {
	select {
	case <-ctx.Done():
		m.kill()
	case <-m.done:
	}
}

// launch starts QEMU. The thread that forks a child with a parent death signal
// has to live as long as the child, since the signal comes when that thread
// ends (prctl(2), PR_SET_PDEATHSIG): one goroutine keeps it locked until QEMU is
// reaped.
func (m *Machine) launch(cfg *Config, w *wiring) error {
	args, err := cfg.args(m.accel.Name, w.fds)
	if err != nil {
		return err
	}
	m.cmd = exec.Command(cfg.QEMU, args...)
	m.cmd.Dir = "/"
	m.cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	m.cmd.Stdout, m.cmd.Stderr = m.stderr, m.stderr
	m.cmd.ExtraFiles = w.theirs.files
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	m.cmd.WaitDelay = time.Second
	closeFilesOnExec()

	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		m.started = time.Now()
		err := m.cmd.Start()
		started <- err
		if err == nil {
			m.reap(m.cmd.Wait())
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start QEMU: %w", err)
	}
	return nil
}

// closeFilesOnExec marks the files that this process got from its parent
// without the mark, which Go's own all bear. os/exec takes the mark off those
// that it hands to a child.
func closeFilesOnExec() {
	if unix.CloseRange(3, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	// CLOSE_RANGE_CLOEXEC is of Linux 5.11.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, entry := range entries {
		var fd int
		if _, err := fmt.Sscan(entry.Name(), &fd); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// connect makes the QMP client, or says why QEMU did not answer.
func (m *Machine) connect(ctx context.Context, conn net.Conn) error {
	ctx, cancel := withLimit(ctx, m.limits.QMP)
	defer cancel()
	q, err := NewQMP(ctx, conn, m.readEvent)
	if err == nil {
		m.mu.Lock()
		m.qmp = q
		m.mu.Unlock()
		return nil
	}
	if errors.Is(err, ErrExited) || errors.Is(err, syscall.EPIPE) {
		<-m.done // its socket is closed, so it is about to be reaped
		if m.exit.Err != nil {
			return m.exit.Err
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		return &BootError{Kind: QEMU, Line: fmt.Sprintf("no answer on QMP within %v", m.limits.QMP), Console: m.stderr.lines()}
	}
	return fmt.Errorf("start QEMU: %w", err)
}

// wiring is the two ends of what is inherited by QEMU.
type wiring struct {
	theirs                inherited
	fds                   endpoints
	qmp, console, channel net.Conn
	floor                 int64
}

func wire(cfg *Config) (*wiring, error) {
	w := &wiring{}
	if err := w.open(cfg); err != nil {
		w.closeAll()
		return nil, err
	}
	return w, nil
}

func (w *wiring) open(cfg *Config) error {
	for _, end := range []struct {
		ours   *net.Conn
		number *int
	}{{&w.qmp, &w.fds.qmp}, {&w.console, &w.fds.console}, {&w.channel, &w.fds.channel}} {
		conn, file, err := socketPair()
		if err != nil {
			return err
		}
		*end.ours, *end.number = conn, w.theirs.add(file)
	}
	kernel, err := openKernel(cfg.Kernel)
	if err != nil {
		return err
	}
	w.fds.kernel, w.floor = w.theirs.add(kernel), kernelFloor(kernel)
	initrds := cfg.ExtraInitrds
	if cfg.Initrd != "" {
		initrds = append([]string{cfg.Initrd}, initrds...)
	}
	initrd, err := openInitrd(initrds)
	if err != nil || initrd == nil {
		return err
	}
	w.fds.initrd = w.theirs.add(initrd)
	return nil
}

func (w *wiring) closeTheirs() {
	for _, f := range w.theirs.files {
		f.Close()
	}
}

func (w *wiring) closeAll() {
	w.closeTheirs()
	for _, c := range []net.Conn{w.qmp, w.console, w.channel} {
		if c != nil {
			c.Close()
		}
	}
}

// socketPair gives a connected stream, one end of it as a file for a child.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair for QEMU: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket")
	defer ours.Close() // FileConn duplicates it
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make a socket pair for QEMU: %w", err)
	}
	return conn, theirs, nil
}

func (m *Machine) watchConsole(conn net.Conn) {
	defer close(m.consoleDone)
	defer conn.Close()
	// The copy ends when QEMU closes its end; a reset by its death is that too.
	_, _ = io.Copy(m.console, conn)
	m.console.finish()
}

// readLine judges each console line as it comes.
func (m *Machine) readLine(line string) {
	m.mu.Lock()
	over := m.judge.see(line) && !m.isOver
	m.isOver = m.isOver || over
	m.mu.Unlock()
	if over {
		close(m.over)
		go m.buryDead()
	}
}

// After a final line a guest either resets within its panic= time or stays as
// it is for ever. It is given time to print what follows the line.
const (
	lastWordsPause = 300 * time.Millisecond
	lastWordsLimit = 3 * time.Second
)

func (m *Machine) buryDead() {
	tick := time.NewTicker(lastWordsPause / 3)
	defer tick.Stop()
	limit := time.After(lastWordsLimit)
	for {
		select {
		case <-m.done:
			return
		case <-limit:
			m.kill()
			return
		case now := <-tick.C:
			if last, _ := m.console.progress(); now.Sub(last) >= lastWordsPause {
				m.kill()
				return
			}
		}
	}
}

// Accel is what the guest runs on.
func (m *Machine) Accel() Accel { return m.accel }

// Pid is QEMU's process id.
func (m *Machine) Pid() int { return m.cmd.Process.Pid }

// StartTime is when QEMU was started.
func (m *Machine) StartTime() time.Time { return m.started }

// Channel is the byte stream to the guest's [Config.Channel]. It is closed by
// [Machine.Close].
func (m *Machine) Channel() net.Conn { return m.channel }

// QMP is QEMU's monitor.
func (m *Machine) QMP() *QMP { return m.qmp }

// Console is the last lines of the guest's console, oldest first.
func (m *Machine) Console() []string { return m.console.tail() }

// Done is closed when QEMU has ended and all that it said has been read.
func (m *Machine) Done() <-chan struct{} { return m.done }

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	mu   sync.Mutex
	data []byte
}

// keptStderr is how much of QEMU's standard error is kept.
const keptStderr = 8 << 10

func (b *lastBytes) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	if extra := len(b.data) - keptStderr; extra > 0 {
		b.data = append(b.data[:0], b.data[extra:]...)
	}
	return len(p), nil
}

func (b *lastBytes) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for line := range strings.SplitSeq(string(b.data), "\n") {
		if line = strings.TrimSpace(printable([]byte(line))); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
