package main

import (
	"bytes"
	"context"
	"math/rand"
	"testing"
	"time"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

func TestGuestWithoutChannelSaysSo(t *testing.T) {
	forEachKernel(t, func(t *testing.T, kernel string) {
		v := boot(t, vmConfig{kernel: kernel, channel: "none", append: "quiet runv.channel=org.none"})
		v.waitExit(t)
		if !consoleHas(v, "no channel: ") || consoleHas(v, "ready") {
			t.Error("the console has other lines than it should")
		}
	})
}

func TestSerialChannel(t *testing.T) {
	forEachKernel(t, func(t *testing.T, kernel string) {
		v := boot(t, vmConfig{kernel: kernel, channel: "serial", append: "quiet runv.channel=ttyS1 runv.poweroff=reset"})
		cl := v.connect(t, protocol.Options{})
		data := make([]byte, 256<<10)
		rand.New(rand.NewSource(5)).Read(data)
		start := time.Now()
		if out, _ := output(t, cl, program("cat"), bytes.NewReader(data)); out != string(data) {
			t.Errorf("%d of %d bytes", len(out), len(data))
		}
		t.Logf("%d KiB there and back in %v", len(data)>>10, time.Since(start).Round(time.Millisecond))
		if err := cl.Poweroff(context.Background(), protocol.Poweroff{}); err != nil {
			t.Error(err)
		}
		v.waitExit(t)
	})
}

func TestNamedPort(t *testing.T) {
	kernel := requireKernel(t, "RUNV_TEST_KERNEL_6_1")
	v := boot(t, vmConfig{kernel: kernel, channel: "port", append: "quiet runv.channel=org.runv.channel"})
	cl := v.connect(t, protocol.Options{})
	testBinary(t, cl)
	if err := cl.Poweroff(context.Background(), protocol.Poweroff{}); err != nil {
		t.Error(err)
	}
	v.waitExit(t)
}

func TestHostThatIsReplacedFindsNoOldJobs(t *testing.T) {
	forEachKernel(t, func(t *testing.T, kernel string) {
		v := boot(t, vmConfig{kernel: kernel, channel: "virtconsole", append: "quiet"})
		ctx, cancel := context.WithTimeout(context.Background(), bootTimeout)
		defer cancel()
		first, err := protocol.Connect(ctx, keptOpen{v.channel}, protocol.AttachBoot, protocol.Options{})
		if err != nil {
			t.Fatal(err)
		}
		j, err := first.Start(ctx, program("sleep"), protocol.Pipes{Stdout: true})
		if err != nil {
			t.Fatal(err)
		}
		readLine(t, j.Stdout)
		output(t, first, program("daemon"), nil)
		first.Close()
		if err := v.channel.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		second, err := protocol.Connect(ctx, v.channel, protocol.AttachResync, protocol.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		testOrphans(t, second)
		if err := second.Poweroff(ctx, protocol.Poweroff{}); err != nil {
			t.Error(err)
		}
		v.waitExit(t)
	})
}

func TestMemoryThatRunsOutIsTold(t *testing.T) {
	forEachKernel(t, func(t *testing.T, kernel string) {
		v := boot(t, vmConfig{kernel: kernel, channel: "virtconsole", append: "quiet", memory: 96})
		cl := v.connect(t, protocol.Options{})
		_, exit := output(t, cl, program("hog"), nil)
		if exit.Signal != 9 || !exit.OOM {
			t.Errorf("%+v", exit)
		}
		if _, err := cl.Ping(context.Background()); err != nil {
			t.Errorf("process 1 afterwards: %v", err)
		}
	})
}
