package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

// ticks is USER_HZ, which is 100 on every machine that Go runs on
// (include/asm-generic/param.h).
const ticks = 100

func readMeminfo(path string) (map[string]uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read memory figures: %w", err)
	}
	m := map[string]uint64{}
	for _, line := range strings.Split(string(b), "\n") {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || len(f) == 0 {
			continue
		}
		if n, err := strconv.ParseUint(f[0], 10, 64); err == nil {
			m[name] = n
		}
	}
	return m, nil
}

// readUptime returns milliseconds.
func readUptime(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read the uptime: %w", err)
	}
	var seconds float64
	if _, err := fmt.Sscan(string(b), &seconds); err != nil {
		return 0, fmt.Errorf("read the uptime from %q: %w", b, err)
	}
	return int64(seconds * 1000), nil
}

func stats(proc string, p protocol.StatsRequest, jobs map[int]string) (any, error) {
	var s protocol.Stats
	var err error
	if s.MemoryKiB, err = readMeminfo(proc + "/meminfo"); err != nil {
		return nil, err
	}
	if s.UptimeMillis, err = readUptime(proc + "/uptime"); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(proc + "/loadavg")
	if err != nil {
		return nil, fmt.Errorf("read the load: %w", err)
	}
	if _, err := fmt.Sscan(string(b), &s.Load[0], &s.Load[1], &s.Load[2]); err != nil {
		return nil, fmt.Errorf("read the load from %q: %w", b, err)
	}
	if self, ok := readProcess(proc, 1); ok {
		s.InitRSSKiB = self.RSSKiB
	}
	if !p.Processes {
		return s, nil
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if process, ok := readProcess(proc, pid); ok { // else it just ended
			process.Job = jobs[pid]
			s.Processes = append(s.Processes, process)
		}
	}
	return s, nil
}

func readProcess(proc string, pid int) (protocol.Process, bool) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return protocol.Process{}, false
	}
	p, ok := parseStat(string(b))
	if !ok {
		return protocol.Process{}, false
	}
	if st, err := os.Stat(dir); err == nil {
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			p.UID = sys.Uid
		}
	}
	if b, err := os.ReadFile(dir + "/cmdline"); err == nil && len(b) > 0 {
		p.Args = strings.Split(strings.TrimSuffix(string(b[:min(len(b), 4096)]), "\x00"), "\x00")
	}
	return p, true
}

// parseStat reads /proc/PID/stat (proc(5)). The name may hold anything, so it
// ends at the last parenthesis.
func parseStat(line string) (protocol.Process, bool) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return protocol.Process{}, false
	}
	f := strings.Fields(line[end+1:])
	if len(f) < 22 {
		return protocol.Process{}, false
	}
	num := func(i int) int64 { // field i of proc(5)
		n, _ := strconv.ParseInt(f[i-3], 10, 64)
		return n
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line[:open]))
	if err != nil {
		return protocol.Process{}, false
	}
	return protocol.Process{
		PID: pid, Name: line[open+1 : end], State: f[0],
		PPID: int(num(4)), PGID: int(num(5)), Threads: int(num(20)),
		CPUMS:   (num(14) + num(15)) * 1000 / ticks,
		StartMS: num(22) * 1000 / ticks,
		RSSKiB:  uint64(max(num(24), 0)) * uint64(os.Getpagesize()) / 1024,
	}, true
}
