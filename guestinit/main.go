// Command guestinit is process 1 of a guest: it mounts the usual file systems,
// loads the modules that its initrd brings, finds the channel to the host,
// and does what the host asks (package protocol) until the machine ends.
//
// It needs nothing of a kernel that Linux 2.6.32 does not have. Build it with
// Go 1.23, the last that supports such a kernel, and link it with
// -ldflags "-E main.entry", which lets it start in little memory (entry_amd64.s).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

const (
	// heapGrowth and heapLimit keep the heap near what is in use; the buffers
	// of a few streams are most of it.
	heapGrowth = 50
	heapLimit  = 24 << 20
	// smallGuest is below which the kernel is left in overcommit mode 1: Go
	// programs, process 1 among them, could not grow otherwise.
	smallGuest = 128 << 10 // KiB
	// hostWait is how long a guest that lost its host waits for another.
	hostWait = 30 * time.Second
	// reopenPause is between two looks at a port that the host has closed.
	reopenPause = 100 * time.Millisecond
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guestinit is process 1 of a guest; on a running system it does nothing")
		os.Exit(2)
	}
	debug.SetGCPercent(heapGrowth)
	debug.SetMemoryLimit(heapLimit)
	runtime.GOMAXPROCS(min(runtime.NumCPU(), 2))
	guest := &guest{warnings: mountBasics(), reaper: newReaper()}
	guest.console = openConsole()
	defer guest.crash()
	guest.run()
}

// guest is the running system.
type guest struct {
	console  *console
	params   params
	reaper   *reaper
	warnings []string
	modules  []string
}

// crash, deferred by every goroutine, turns a panic into a line that the host
// knows and the end of the machine.
func (g *guest) crash() {
	reason := recover()
	if reason == nil {
		return
	}
	g.console.say("panic: %v; at %s", reason, panicSite(string(debug.Stack())))
	shutDown(g.console, 0, g.params.reset)
}

// panicSite finds the function that panicked in a stack trace.
func panicSite(stack string) string {
	_, after, found := strings.Cut(stack, "\npanic(")
	if !found {
		return "unknown"
	}
	lines := strings.Split(after, "\n")
	for i := 2; i+1 < len(lines); i += 2 {
		if !strings.HasPrefix(lines[i], "runtime.") {
			return strings.TrimSpace(lines[i]) + " " + strings.TrimSpace(lines[i+1])
		}
	}
	return "unknown"
}

func (g *guest) run() {
	params, err := readParams("/proc/cmdline")
	if err != nil {
		g.warnings = append(g.warnings, err.Error())
	}
	g.params, g.console.quiet = params, params.quiet
	for _, word := range params.unknown {
		g.warnings = append(g.warnings, fmt.Sprintf("kernel parameter %s is not known", word))
	}
	go func() {
		defer g.crash()
		g.reaper.run(nil)
	}()
	setUpEnvironment()
	loaded, failed := loadListed(modulesFile)
	g.modules = loaded
	g.warnings = append(g.warnings, failed...)
	g.restoreOvercommit()

	ch, err := findChannel("/dev", "/sys/class/virtio-ports", params.channel)
	for _, w := range g.warnings {
		g.console.chat("warning: %s", w)
	}
	if err != nil {
		g.console.say("no channel: %v", err)
		shutDown(g.console, 0, g.params.reset)
	}
	info := guestInfo(ch.name, g.modules, g.warnings)
	g.console.chat("ready %s", info.Release)
	g.serve(ch, info)
}

// setUpEnvironment leaves what every program expects of process 1.
func setUpEnvironment() {
	syscall.Umask(0o022)
	_ = os.Chdir("/")
	// The loopback interface is up in every guest.
	_ = bringUpLoopback() // a kernel without a network has none
}

// restoreOvercommit undoes what entry did where memory is not scarce.
func (g *guest) restoreOvercommit() {
	mem, err := readMeminfo("/proc/meminfo")
	if err != nil || mem["MemTotal"] < smallGuest {
		return
	}
	if err := setSysctl("/proc/sys", "vm.overcommit_memory", "0"); err != nil {
		g.warnings = append(g.warnings, err.Error())
	}
}

// serve takes one host after another, until one of them, or the lack of one,
// ends the machine.
func (g *guest) serve(ch channel, info *protocol.GuestInfo) {
	l := protocol.NewListener(ch)
	var lost time.Time // since when there is no host that there was
	for {
		ctx, cancel := context.Background(), func() {}
		if !lost.IsZero() {
			ctx, cancel = context.WithDeadline(ctx, lost.Add(hostWait))
		}
		err := g.session(ctx, l, info)
		gone := ctx.Err() != nil
		cancel()
		var version *protocol.VersionError
		switch {
		case err == nil:
			lost = time.Now()
			continue
		case gone:
			g.console.say("host is gone: no other came within %v", hostWait)
			shutDown(g.console, 0, g.params.reset)
		case errors.As(err, &version):
			g.console.say("error: %v", err)
			continue
		}
		// The channel broke: a virtio port does when the host closes it.
		if lost.IsZero() {
			lost = time.Now()
		}
		ch.Close()
		time.Sleep(reopenPause)
		if ch, err = findChannel("/dev", "/sys/class/virtio-ports", ch.name); err != nil {
			g.console.say("host is gone: %v", err)
			shutDown(g.console, 0, g.params.reset)
		}
		l = protocol.NewListener(ch)
	}
}

// session serves one host. nil means that a session was held and has ended; an
// error that none came about.
func (g *guest) session(ctx context.Context, l *protocol.Listener, info *protocol.GuestInfo) error {
	off := make(chan protocol.Poweroff, 1)
	s := &server{ready: make(chan struct{}), jobs: newJobs(g.reaper, g.crash), off: off, crash: g.crash}
	conn, err := l.Accept(ctx, info, protocol.Options{Window: window(info.MemoryKiB), Handler: s.handle})
	if err != nil {
		return err
	}
	s.conn = conn
	close(s.ready)
	defer func() {
		s.jobs.kill(syscall.SIGKILL)
		// Also what jobs left behind: every process came from one of them.
		_ = syscall.Kill(-1, syscall.SIGKILL) // ESRCH: there is none
	}()
	select {
	case p := <-off:
		flush, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = conn.Flush(flush) // a host that does not read learns by the end
		cancel()
		grace := time.Duration(p.GraceMillis) * time.Millisecond
		shutDown(g.console, grace, p.Restart || g.params.reset)
	case <-conn.Done():
		g.console.chat("session ended: %v", conn.Err())
	}
	return nil
}

// window sizes stream buffers to the guest.
func window(memoryKiB uint64) int {
	if memoryKiB < 64<<10 {
		return 64 << 10
	}
	return protocol.DefaultWindow
}
