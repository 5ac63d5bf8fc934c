package main

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// reaper collects every child of process 1. Those that were started through
// it get their status; the rest are orphans of jobs, and only disappear.
type reaper struct {
	mu      sync.Mutex
	waiting map[int]func(syscall.WaitStatus)
}

func newReaper() *reaper {
	return &reaper{waiting: map[int]func(syscall.WaitStatus){}}
}

// start runs fork, which returns a new child's pid, and has exited called once
// with the child's status. The lock keeps a child that dies at once from being
// taken for an orphan.
func (r *reaper) start(fork func() (int, error), exited func(syscall.WaitStatus)) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := fork()
	if err != nil {
		return 0, err
	}
	r.waiting[pid] = exited
	return pid, nil
}

// run reaps until stop is closed. SIGCHLD says that there is something to
// reap, not how much.
func (r *reaper) run(stop <-chan struct{}) {
	sigs := make(chan os.Signal, 1)
	signal.Notify(sigs, syscall.SIGCHLD)
	defer signal.Stop(sigs)
	for {
		r.reapAll()
		select {
		case <-sigs:
		case <-stop:
			return
		}
	}
}

func (r *reaper) reapAll() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		r.mu.Lock()
		exited := r.waiting[pid]
		delete(r.waiting, pid)
		r.mu.Unlock()
		if exited != nil {
			exited(status)
		}
	}
}

// signal sends a signal unless the child was reaped, so that it cannot reach a
// process that got the same pid. Between exit and reaping it does no harm.
func (r *reaper) signal(pid int, sig syscall.Signal, group bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.waiting[pid]; !ok {
		return syscall.ESRCH
	}
	if group {
		pid = -pid
	}
	return syscall.Kill(pid, sig)
}
