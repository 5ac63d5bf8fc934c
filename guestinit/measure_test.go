package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

// The measurements print figures and judge none of them. RUNV_TEST_MEASURE=1
// asks for them.
func measuring(t *testing.T) {
	t.Helper()
	if os.Getenv("RUNV_TEST_MEASURE") == "" {
		t.Skip("set RUNV_TEST_MEASURE=1 to measure")
	}
}

func spread(t *testing.T, what string, d []time.Duration) {
	t.Helper()
	slices.Sort(d)
	t.Logf("%s: median %v (%v to %v) of %d", what, d[len(d)/2].Round(10*time.Microsecond),
		d[0].Round(10*time.Microsecond), d[len(d)-1].Round(10*time.Microsecond), len(d))
}

func TestMeasureBoot(t *testing.T) {
	measuring(t)
	forEachKernel(t, func(t *testing.T, kernel string) {
		var times []time.Duration
		for range 10 {
			v := boot(t, vmConfig{kernel: kernel, channel: "virtconsole", append: "quiet"})
			cl := v.connect(t, protocol.Options{})
			times = append(times, time.Since(v.started))
			cl.Close()
			v.cmd.Process.Kill()
			<-v.exited
		}
		spread(t, "QEMU start to hello", times)
	})
}

func TestMeasureChannel(t *testing.T) {
	measuring(t)
	forEachKernel(t, func(t *testing.T, kernel string) {
		v := boot(t, vmConfig{kernel: kernel, channel: "virtconsole", append: "quiet"})
		measureChannel(t, v.connect(t, protocol.Options{}))
	})
	t.Run("6.1 port", func(t *testing.T) {
		kernel := requireKernel(t, "RUNV_TEST_KERNEL_6_1")
		v := boot(t, vmConfig{kernel: kernel, channel: "port", append: "quiet runv.channel=org.runv.channel"})
		measureChannel(t, v.connect(t, protocol.Options{}))
	})
}

func measureChannel(t *testing.T, cl *protocol.Client) {
	ctx := context.Background()
	var trips, pauses, execs []time.Duration
	for range 100 {
		d, err := cl.Ping(ctx)
		if err != nil {
			t.Fatal(err)
		}
		trips = append(trips, d)
	}
	for range 20 {
		time.Sleep(50 * time.Millisecond)
		d, err := cl.Ping(ctx)
		if err != nil {
			t.Fatal(err)
		}
		pauses = append(pauses, d)
	}
	for range 20 {
		start := time.Now()
		output(t, cl, program("exit", "0"), nil)
		execs = append(execs, time.Since(start))
	}
	spread(t, "round trip, back to back", trips)
	spread(t, "round trip, after a pause", pauses)
	spread(t, "start of a Go program to its exit", execs)
	const size = 32 << 20
	start := time.Now()
	n := &counter{}
	if _, err := cl.Run(ctx, program("zeros", strconv.Itoa(size)), protocol.StdIO{Stdout: n}); err != nil || n.n != size {
		t.Fatalf("%d bytes, %v", n.n, err)
	}
	t.Logf("guest to host: %.1f MB/s", size/1e6/time.Since(start).Seconds())
	start = time.Now()
	out, _ := output(t, cl, program("sink"), bytes.NewReader(make([]byte, size)))
	if out != strconv.Itoa(size)+"\n" {
		t.Fatalf("%q", out)
	}
	t.Logf("host to guest: %.1f MB/s", size/1e6/time.Since(start).Seconds())
	s, err := cl.Stats(ctx, protocol.StatsRequest{Processes: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("process 1: %d KiB resident, %d threads; free %d of %d KiB", s.InitRSSKiB, s.Processes[0].Threads, s.MemoryKiB["MemFree"], s.MemoryKiB["MemTotal"])
}

type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }

var _ io.Writer = (*counter)(nil)

// TestMeasureMemory looks for the smallest guest that reaches Hello, and for
// the smallest that runs a Go program.
func TestMeasureMemory(t *testing.T) {
	measuring(t)
	forEachKernel(t, func(t *testing.T, kernel string) {
		for _, own := range []bool{true, false} {
			hello, works := 0, 0
			for mb := 104; mb >= 14; mb -= 2 {
				said, ran := tryMemory(t, kernel, testInitrd(t, own, modulesFor(kernel)), mb)
				if said {
					hello = mb
				}
				if ran {
					works = mb
				}
				if !said {
					break
				}
			}
			t.Logf("own entry %v: hello from %d MB, runs a Go program from %d MB", own, hello, works)
		}
	})
}

func tryMemory(t *testing.T, kernel, initrd string, mb int) (said, ran bool) {
	v := boot(t, vmConfig{kernel: kernel, channel: "virtconsole", append: "quiet", memory: mb, initrd: initrd})
	defer func() { v.cmd.Process.Kill(); <-v.exited }()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	cl, err := protocol.Connect(ctx, v.channel, protocol.AttachBoot, protocol.Options{})
	if err != nil {
		return false, false
	}
	defer cl.Close()
	exit, err := cl.Run(ctx, program("exit", "7"), protocol.StdIO{Stdout: io.Discard})
	if err != nil && !errors.Is(err, io.EOF) {
		t.Logf("%d MB: %v", mb, err)
	}
	return true, err == nil && exit.Code == 7
}
