package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

func TestGuestDoesWhatItIsAsked(t *testing.T) {
	forEachKernel(t, func(t *testing.T, kernel string) {
		v := boot(t, vmConfig{kernel: kernel, channel: "virtconsole"})
		cl := v.connect(t, protocol.Options{})
		for name, test := range map[string]func(*testing.T, *protocol.Client){
			"hello": testHello, "jobs": testJobs, "failed starts": testFailedStarts,
			"identity": testIdentity, "signals": testSignals, "orphans": testOrphans,
			"terminal": testTerminal, "files": testFiles, "mounts": testMounts,
			"binary": testBinary, "stop reading": testStopReading,
		} {
			t.Run(name, func(t *testing.T) { test(t, cl) })
		}
		if err := cl.Poweroff(context.Background(), protocol.Poweroff{}); err != nil {
			t.Error(err)
		}
		v.waitExit(t)
		if !consoleHas(v, "ready "+cl.Guest().Release) || !consoleHas(v, "power off") {
			t.Error("the console lacks a line")
		}
		missing := consoleHas(v, "warning: load module: open /lib/none.ko: no such file or directory")
		if missing != (modulesFor(kernel) != "") {
			t.Errorf("the warning of a missing module: %v", missing)
		}
		if !missing && consoleHas(v, "warning") || consoleHas(v, "error") || consoleHas(v, "panic") {
			t.Error("the console has a complaint")
		}
	})
}

func testHello(t *testing.T, cl *protocol.Client) {
	g := cl.Guest()
	t.Logf("%+v", *g)
	if g.Arch != "x86_64" || g.CPUs != 1 || g.Channel != "hvc0" || g.MemoryKiB < 64<<10 || g.UptimeMS <= 0 {
		t.Errorf("hello: %+v", *g)
	}
	modules := strings.HasPrefix(g.Release, "6.1") && os.Getenv(modulesEnv) != ""
	if modules && g.Has("9p") || !modules && !g.Has("9p") {
		t.Errorf("feature 9p is %v", g.Has("9p"))
	}
	for _, m := range []string{"virtio", "virtio_ring", "virtio_pci", "virtio_console", "squashfs"} {
		if modules && !slices.Contains(g.Modules, m) {
			t.Errorf("module %s was not loaded", m)
		}
	}
	for _, f := range []string{"ext4", "squashfs", "ns:net", "ns:pid", "ns:mnt", "ns:uts", "ns:ipc", "seccomp", "devpts-newinstance", "cgroup:memory"} {
		if !g.Has(f) {
			t.Errorf("feature %s is missing", f)
		}
	}
	old := strings.HasPrefix(g.Release, "2.6.32")
	for _, f := range []string{"setns", "overlay", "seccomp-filter", "getrandom", "ns:user", "o-path", "at-empty-path", "prlimit", "subreaper", "no-new-privs"} {
		if g.Has(f) == old {
			t.Errorf("feature %s: %v on %s", f, g.Has(f), g.Release)
		}
	}
}

func testJobs(t *testing.T, cl *protocol.Client) {
	if out, exit := output(t, cl, program("both"), nil); out != "to stdout\nto stderr\n" || exit.Code != 0 {
		t.Errorf("%q, %+v", out, exit)
	}
	for _, code := range []string{"0", "1", "77", "255"} {
		if _, exit := output(t, cl, program("exit", code), nil); strings.TrimSpace(code) != itoa(exit.Code) {
			t.Errorf("exit %s: %+v", code, exit)
		}
	}
	if out, _ := output(t, cl, program("cat"), strings.NewReader("in and out")); out != "in and out" {
		t.Errorf("cat: %q", out)
	}
	for range 30 {
		if out, exit := output(t, cl, program("both"), nil); len(out) != 20 || exit.Code != 0 {
			t.Errorf("%q, %+v", out, exit)
		}
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func testFailedStarts(t *testing.T, cl *protocol.Client) {
	for name, c := range map[string]struct {
		start  protocol.Start
		code   protocol.Code
		status int
		words  string
	}{
		"missing":      {protocol.Start{Args: []string{"/bin/none"}}, protocol.CodeNotFound, 127, "no such program"},
		"not in PATH":  {protocol.Start{Args: []string{"none"}}, protocol.CodeNotFound, 127, "no such program"},
		"no mode":      {protocol.Start{Args: []string{"/bin/text"}}, protocol.CodeAccess, 126, "permission denied"},
		"in PATH":      {protocol.Start{Args: []string{"text"}}, protocol.CodeAccess, 126, "permission denied"},
		"no loader":    {protocol.Start{Args: []string{"noloader"}}, protocol.CodeNotFound, 127, "interpreter"},
		"not ELF":      {protocol.Start{Args: []string{"garbage"}}, protocol.CodeAccess, 126, "not a program"},
		"no arguments": {protocol.Start{}, protocol.CodeInvalid, 0, "args"},
		"bad cwd":      {protocol.Start{Args: []string{"/bin/job"}, Cwd: "/none"}, protocol.CodeInvalid, 0, "cwd"},
		"bad root":     {protocol.Start{Args: []string{"/bin/job"}, Root: "/none"}, protocol.CodeInvalid, 0, "root"},
		"NUL":          {protocol.Start{Args: []string{"/bin/job\x00"}}, protocol.CodeInvalid, 0, "NUL"},
	} {
		_, err := cl.Run(context.Background(), c.start, protocol.StdIO{Stdout: io.Discard})
		var call *protocol.CallError
		if !errors.As(err, &call) || call.Code != c.code || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if status, _ := call.ExitStatus(); status != c.status {
			t.Errorf("%s: exit status %d", name, status)
		}
	}
}

func testIdentity(t *testing.T, cl *protocol.Client) {
	ctx := context.Background()
	err := cl.Configure(ctx, protocol.Configure{
		TimeUnixNano: time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC).UnixNano(), Entropy: []byte("seed seed seed"),
		Hostname: "guest-1", Sysctls: map[string]string{"kernel.msgmax": "9000"},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := program("id")
	p.UID, p.GID, p.Groups, p.Cwd, p.Env = 1000, 1001, []uint32{7, 8}, "/tmp", []string{"COLOUR=blue"}
	if out, _ := output(t, cl, p, nil); out != "1000 1001 [7 8] /tmp guest-1 blue 2031\n" {
		t.Errorf("%q", out)
	}
	if d, err := cl.ReadFile(ctx, protocol.ReadFile{Path: "/proc/sys/kernel/msgmax"}); err != nil || string(d.Data) != "9000\n" {
		t.Errorf("%q, %v", d.Data, err)
	}
	var call *protocol.CallError
	err = cl.Configure(ctx, protocol.Configure{Sysctls: map[string]string{"no.such": "1"}})
	if !errors.As(err, &call) || call.Code != protocol.CodeUnsupported {
		t.Errorf("unknown sysctl: %v", err)
	}
	err = cl.Configure(ctx, protocol.Configure{Sysctls: map[string]string{"../../etc/x": "1"}})
	if !errors.As(err, &call) || call.Code != protocol.CodeInvalid {
		t.Errorf("escaping sysctl: %v", err)
	}
}

// readLine reads up to a newline, a byte at a time, so as to take no more.

func readLine(t *testing.T, r io.Reader) string {
	t.Helper()
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := r.Read(b); err != nil {
			t.Fatalf("after %q: %v", line, err)
		}
		if b[0] == '\n' {
			return strings.TrimRight(string(line), "\r")
		}
		line = append(line, b[0])
	}
}

func testSignals(t *testing.T, cl *protocol.Client) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		program string
		signal  syscall.Signal
		want    protocol.Exited
	}{
		"handled": {"trap", syscall.SIGTERM, protocol.Exited{Code: 42}},
		"killed":  {"sleep", syscall.SIGKILL, protocol.Exited{Code: 137, Signal: 9}},
		"hangup":  {"sleep", syscall.SIGHUP, protocol.Exited{Code: 129, Signal: 1}},
	} {
		j, err := cl.Start(ctx, program(c.program), protocol.Pipes{Stdout: true})
		if err != nil {
			t.Fatal(err)
		}
		readLine(t, j.Stdout)
		if err := j.Signal(ctx, int(c.signal), false); err != nil {
			t.Error(err)
		}
		exit, err := j.Wait(ctx)
		c.want.ID = j.ID
		if err != nil || exit != c.want {
			t.Errorf("%s: %+v, %v", name, exit, err)
		}
		j.Stdout.Close()
		var call *protocol.CallError
		if err := j.Signal(ctx, 9, false); !errors.As(err, &call) || call.Code != protocol.CodeNotFound {
			t.Errorf("%s: a signal to a job that is gone: %v", name, err)
		}
	}
}

func testOrphans(t *testing.T, cl *protocol.Client) {
	for range 5 {
		if _, exit := output(t, cl, program("orphan"), nil); exit.Code != 0 {
			t.Errorf("%+v", exit)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s, err := cl.Stats(context.Background(), protocol.StatsRequest{Processes: true})
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, p := range s.Processes {
			if p.Name == "job" || p.State == "Z" {
				left++
			}
		}
		if left == 0 {
			if s.MemoryKiB["MemTotal"] == 0 || s.InitRSSKiB == 0 {
				t.Errorf("%+v", s)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d processes are left", left)
		}
	}
}

func testTerminal(t *testing.T, cl *protocol.Client) {
	ctx := context.Background()
	p := program("tty")
	p.TTY = &protocol.Size{Rows: 24, Cols: 80}
	j, err := cl.Start(ctx, p, protocol.Pipes{Stdin: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	if line := readLine(t, j.Stdout); line != "size 24x80" {
		t.Errorf("%q", line)
	}
	if err := j.Resize(ctx, protocol.Size{Rows: 50, Cols: 132}); err != nil {
		t.Error(err)
	}
	io.WriteString(j.Stdin, "size\n")
	if echo := readLine(t, j.Stdout); echo != "size" {
		t.Errorf("echo %q", echo)
	}
	if line := readLine(t, j.Stdout); line != "resized 50x132" {
		t.Errorf("%q", line)
	}
	io.WriteString(j.Stdin, "flood\n")
	out, err := io.ReadAll(j.Stdout)
	if err != nil || !bytes.HasSuffix(out, []byte("end")) || len(out) != len("flood\r\n")+20000*12+3 {
		t.Errorf("the flood has %d bytes, %v", len(out), err)
	}
	if exit, err := j.Wait(ctx); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}

	p = program("sleep") // ^C reaches the job through the terminal
	p.TTY = &protocol.Size{Rows: 24, Cols: 80}
	if j, err = cl.Start(ctx, p, protocol.Pipes{Stdin: true, Stdout: true}); err != nil {
		t.Fatal(err)
	}
	readLine(t, j.Stdout)
	io.WriteString(j.Stdin, "\x03")
	if exit, err := j.Wait(ctx); err != nil || exit.Signal != int(syscall.SIGINT) {
		t.Errorf("%+v, %v", exit, err)
	}
}

func testFiles(t *testing.T, cl *protocol.Client) {
	ctx := context.Background()
	data := make([]byte, protocol.MaxFile)
	rand.New(rand.NewSource(3)).Read(data)
	for i := range 2 {
		w := protocol.WriteFile{Path: "/tmp/a/b/file", Data: data, Mode: 0o600, Mkdir: true, Append: i > 0}
		if err := cl.WriteFile(ctx, w); err != nil {
			t.Fatal(err)
		}
	}
	d, err := cl.ReadFile(ctx, protocol.ReadFile{Path: "/tmp/a/b/file"})
	if err != nil || !d.More || !bytes.Equal(d.Data, data) {
		t.Errorf("%d bytes, more %v, %v", len(d.Data), d.More, err)
	}
	d, err = cl.ReadFile(ctx, protocol.ReadFile{Path: "/tmp/a/b/file", Offset: 2*protocol.MaxFile - 5})
	if err != nil || d.More || !bytes.Equal(d.Data, data[protocol.MaxFile-5:]) {
		t.Errorf("%d bytes, more %v, %v", len(d.Data), d.More, err)
	}
	var call *protocol.CallError
	if _, err := cl.ReadFile(ctx, protocol.ReadFile{Path: "/none"}); !errors.As(err, &call) || call.Code != protocol.CodeNotFound {
		t.Errorf("%v", err)
	}
	if _, err := cl.ReadFile(ctx, protocol.ReadFile{Path: "/dev/zero"}); !errors.As(err, &call) || call.Code != protocol.CodeInvalid {
		t.Errorf("%v", err)
	}
}

func testMounts(t *testing.T, cl *protocol.Client) {
	ctx := context.Background()
	m := protocol.Mount{Source: "t", Target: "/mnt/t", FSType: "tmpfs", Flags: []string{"nosuid", "ro"}, Data: "size=1m", Mkdir: true}
	if err := cl.Mount(ctx, m); err != nil {
		t.Fatal(err)
	}
	var call *protocol.CallError
	if err := cl.WriteFile(ctx, protocol.WriteFile{Path: "/mnt/t/x"}); !errors.As(err, &call) || call.Code != protocol.CodeAccess {
		t.Errorf("write to a read-only mount: %v", err)
	}
	if err := cl.Mount(ctx, protocol.Mount{Source: "/tmp", Target: "/mnt/b", Flags: []string{"bind", "ro", "private"}, Mkdir: true}); err != nil {
		t.Error(err)
	}
	if err := cl.WriteFile(ctx, protocol.WriteFile{Path: "/mnt/b/x"}); !errors.As(err, &call) || call.Code != protocol.CodeAccess {
		t.Errorf("write to a read-only bind: %v", err)
	}
	for _, target := range []string{"/mnt/b", "/mnt/t"} {
		if err := cl.Unmount(ctx, protocol.Unmount{Target: target}); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		m    protocol.Mount
		code protocol.Code
	}{
		"unknown file system": {protocol.Mount{Source: "x", Target: "/mnt", FSType: "nosuchfs"}, protocol.CodeUnsupported},
		"unknown flag":        {protocol.Mount{Source: "x", Target: "/mnt", FSType: "tmpfs", Flags: []string{"fast"}}, protocol.CodeInvalid},
		"no target":           {protocol.Mount{Source: "x", Target: "/none", FSType: "tmpfs"}, protocol.CodeNotFound},
		"no device":           {protocol.Mount{Source: "/dev/vdz", Target: "/mnt", FSType: "ext4", WaitMillis: 20}, protocol.CodeNotFound},
		"no module":           {protocol.Mount{Source: "x", Target: "/mnt", FSType: "tmpfs", Modules: []string{"/lib/none.ko"}}, protocol.CodeNotFound},
	} {
		if err := cl.Mount(ctx, c.m); !errors.As(err, &call) || call.Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testBinary sends every byte value both ways, through a terminal driver on

// the way, and far more than any buffer holds.

func testBinary(t *testing.T, cl *protocol.Client) {
	data := make([]byte, 8<<20)
	rand.New(rand.NewSource(4)).Read(data)
	var out bytes.Buffer
	start := time.Now()
	exit, err := cl.Run(context.Background(), program("cat"), protocol.StdIO{Stdin: bytes.NewReader(data), Stdout: &out})
	if err != nil || exit.Code != 0 || sha256.Sum256(out.Bytes()) != sha256.Sum256(data) {
		t.Errorf("%d of %d bytes came back, %+v, %v", out.Len(), len(data), exit, err)
	}
	t.Logf("%d MiB there and back in %v", len(data)>>20, time.Since(start).Round(time.Millisecond))
}

func testStopReading(t *testing.T, cl *protocol.Client) {
	ctx := context.Background()
	j, err := cl.Start(ctx, program("zeros", "1000000000"), protocol.Pipes{Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(j.Stdout, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Ping(ctx); err != nil { // while the job is held back
		t.Error(err)
	}
	j.Stdout.Close()
	if exit, err := j.Wait(ctx); err != nil || exit.Signal != int(syscall.SIGPIPE) {
		t.Errorf("%+v, %v", exit, err)
	}
}
