package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

// jobs are the programs that one session of the host started.
type jobs struct {
	reaper *reaper
	crash  func() // deferred by every goroutine

	mu   sync.Mutex
	byID map[string]*job
}

// job is one of them. It stays known until its exit was told and its output
// has been passed on.
type job struct {
	id     string
	pid    int
	tty    *os.File // master side
	stdin  *protocol.Stream
	exited chan struct{}
	output sync.WaitGroup

	mu     sync.Mutex
	killed bool // the host, or the end of its session, sent SIGKILL
	exit   protocol.Exited
}

func newJobs(r *reaper, crash func()) *jobs {
	return &jobs{reaper: r, crash: crash, byID: map[string]*job{}}
}

func (js *jobs) get(id string) (*job, error) {
	js.mu.Lock()
	defer js.mu.Unlock()
	j, ok := js.byID[id]
	if !ok {
		return nil, callError(protocol.CodeNotFound, "no job %q", id)
	}
	return j, nil
}

// start runs p and reports its exit on conn.
func (js *jobs) start(conn *protocol.Conn, p protocol.Start) (protocol.Started, error) {
	if err := checkStart(p); err != nil {
		return protocol.Started{}, err
	}
	j := &job{id: p.ID, exited: make(chan struct{})}
	js.mu.Lock()
	if _, taken := js.byID[p.ID]; taken {
		js.mu.Unlock()
		return protocol.Started{}, callError(protocol.CodeConflict, "job %q exists", p.ID)
	}
	js.byID[p.ID] = j
	js.mu.Unlock()

	err := js.launch(conn, j, p)
	if err != nil {
		js.forget(j)
		return protocol.Started{}, err
	}
	return protocol.Started{PID: j.pid}, nil
}

func (js *jobs) forget(j *job) {
	js.mu.Lock()
	delete(js.byID, j.id)
	js.mu.Unlock()
}

func (js *jobs) launch(conn *protocol.Conn, j *job, p protocol.Start) error {
	io, err := connectStdio(conn, p)
	if err != nil {
		return err
	}
	defer io.closeChild()
	attr := &syscall.ProcAttr{
		Dir: p.Cwd, Env: p.Env,
		Files: []uintptr{io.child[0].Fd(), io.child[1].Fd(), io.child[2].Fd()},
		Sys: &syscall.SysProcAttr{
			Chroot:     p.Root,
			Setsid:     true, // a process group of its own, to signal whole
			Setctty:    p.TTY != nil,
			Credential: &syscall.Credential{Uid: p.UID, Gid: p.GID, Groups: p.Groups},
		},
	}
	if attr.Dir == "" {
		attr.Dir = "/"
	}
	told := make(chan struct{}) // the answer's goroutine owns j until here
	pid, err := js.reaper.start(
		func() (int, error) { return execSearching(p.Args, attr) },
		func(status syscall.WaitStatus) {
			go func() {
				defer js.crash()
				<-told
				js.finish(conn, j, status)
			}()
		})
	if err != nil {
		io.abandon()
		return err
	}
	j.pid, j.tty, j.stdin = pid, io.tty, io.stdin
	close(told)
	io.pump(j, js.crash)
	return nil
}

func (js *jobs) finish(conn *protocol.Conn, j *job, status syscall.WaitStatus) {
	j.mu.Lock()
	j.exit = describeExit(j.id, status)
	if status.Signaled() && status.Signal() == syscall.SIGKILL && !j.killed {
		j.exit.OOM = killedForMemory(j.pid)
	}
	j.mu.Unlock()
	close(j.exited)
	if j.stdin != nil {
		j.stdin.Close()
	}
	// Only a session that has ended cannot be told.
	_ = conn.Notify(context.Background(), protocol.EventExited, j.exit)
	j.output.Wait()
	if j.tty != nil {
		j.tty.Close()
	}
	js.forget(j)
}

func describeExit(id string, status syscall.WaitStatus) protocol.Exited {
	e := protocol.Exited{ID: id, Code: status.ExitStatus()}
	if status.Signaled() {
		e.Signal = int(status.Signal())
		e.Code = 128 + e.Signal
		e.Core = status.CoreDump()
	}
	return e
}

// killedForMemory looks for the OOM killer's line about a process in the
// kernel's log: "Killed process PID" in 2.6.32 as in 6.1 (mm/oom_kill.c).
// There is no counter for it before 4.13.
func killedForMemory(pid int) bool {
	const readAll = 3 // SYSLOG_ACTION_READ_ALL
	buf := make([]byte, 64<<10)
	n, err := syscall.Klogctl(readAll, buf)
	if err != nil {
		return false
	}
	return oomKilled(string(buf[:n]), pid)
}

func oomKilled(log string, pid int) bool {
	log = strings.ToLower(log)
	return strings.Contains(log, fmt.Sprintf("killed process %d (", pid)) ||
		strings.Contains(log, fmt.Sprintf("kill process %d (", pid))
}

func (js *jobs) signal(p protocol.Signal) error {
	j, err := js.get(p.ID)
	if err != nil {
		return err
	}
	if p.Signal < 0 || p.Signal > 64 {
		return callError(protocol.CodeInvalid, "no signal %d", p.Signal)
	}
	if syscall.Signal(p.Signal) == syscall.SIGKILL {
		j.mu.Lock()
		j.killed = true
		j.mu.Unlock()
	}
	if err := js.reaper.signal(j.pid, syscall.Signal(p.Signal), p.Group); err != nil {
		return errnoError(err, "signal job "+p.ID)
	}
	return nil
}

func (js *jobs) resize(p protocol.Resize) error {
	j, err := js.get(p.ID)
	if err != nil {
		return err
	}
	if j.tty == nil {
		return callError(protocol.CodeInvalid, "job %q has no terminal", p.ID)
	}
	return setSize(j.tty, p.Size)
}

func (js *jobs) wait(ctx context.Context, id string) (protocol.Exited, error) {
	j, err := js.get(id)
	if err != nil {
		return protocol.Exited{}, err
	}
	select {
	case <-j.exited:
		return j.exit, nil
	case <-ctx.Done():
		return protocol.Exited{}, ctx.Err()
	}
}

// all returns the jobs that run.
func (js *jobs) all() []*job {
	js.mu.Lock()
	defer js.mu.Unlock()
	var running []*job
	for _, j := range js.byID {
		select {
		case <-j.exited:
		default:
			running = append(running, j)
		}
	}
	return running
}

// names maps the pid of each job to its id.
func (js *jobs) names() map[int]string {
	m := map[int]string{}
	for _, j := range js.all() {
		m[j.pid] = j.id
	}
	return m
}

// kill sends a signal to every job's process group.
func (js *jobs) kill(sig syscall.Signal) {
	for _, j := range js.all() {
		j.mu.Lock()
		j.killed = j.killed || sig == syscall.SIGKILL
		j.mu.Unlock()
		_ = js.reaper.signal(j.pid, sig, true) // it may be gone by itself
	}
}

func checkStart(p protocol.Start) error {
	switch {
	case p.ID == "" || len(p.ID) > 256:
		return callError(protocol.CodeInvalid, "id: must be 1 to 256 bytes long")
	case len(p.Args) == 0 || p.Args[0] == "":
		return callError(protocol.CodeInvalid, "args: no program is named")
	case p.TTY != nil && p.Stderr != 0:
		return callError(protocol.CodeInvalid, "stderr: a terminal has one output, stdout")
	case p.Cwd != "" && p.Cwd[0] != '/':
		return callError(protocol.CodeInvalid, "cwd: %q is not absolute", p.Cwd)
	case p.Root != "" && p.Root[0] != '/':
		return callError(protocol.CodeInvalid, "root: %q is not absolute", p.Root)
	case len(p.Groups) > 65536: // include/uapi/linux/limits.h, NGROUPS_MAX
		return callError(protocol.CodeInvalid, "groups: more than 65536")
	}
	for _, s := range slices.Concat(p.Args, p.Env, []string{p.Cwd, p.Root}) {
		if strings.IndexByte(s, 0) >= 0 {
			return callError(protocol.CodeInvalid, "args, env, cwd, root: %q has a NUL byte", s)
		}
	}
	return nil
}

func setSize(tty *os.File, size protocol.Size) error {
	ws := struct{ rows, cols, x, y uint16 }{rows: size.Rows, cols: size.Cols}
	if err := ioctl(tty, syscall.TIOCSWINSZ, unsafe.Pointer(&ws)); err != nil {
		return errnoError(err, "set the terminal's size")
	}
	return nil
}
