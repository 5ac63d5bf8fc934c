package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

func TestKernelParameters(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		want params
	}{
		"none":           {"console=ttyS0 panic=1\n", params{}},
		"all":            {"quiet runv.channel=ttyS1 runv.poweroff=reset", params{quiet: true, channel: "ttyS1", reset: true}},
		"last wins":      {"runv.channel=a runv.channel=b runv.poweroff=reset runv.poweroff=acpi", params{channel: "b"}},
		"for a program":  {"root=x -- quiet runv.channel=a", params{}},
		"unknown":        {"runv.chanel=a runv.poweroff=maybe", params{unknown: []string{"runv.chanel=a", "runv.poweroff=maybe"}}},
		"not the prefix": {"quiet=1 xrunv.channel=a", params{}},
	} {
		got := parseParams(c.line)
		if got.quiet != c.want.quiet || got.channel != c.want.channel || got.reset != c.want.reset || !slices.Equal(got.unknown, c.want.unknown) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestProcessStat(t *testing.T) {
	line := "1234 (a) (b) c) S 1 1234 1234 0 -1 4202752 100 0 0 0 150 50 0 0 20 0 3 0 700 1000000 25 18446744073709551615"
	p, ok := parseStat(line)
	if !ok || p.PID != 1234 || p.Name != "a) (b) c" || p.State != "S" || p.PPID != 1 || p.CPUMS != 2000 || p.Threads != 3 || p.StartMS != 7000 || p.RSSKiB != 25*uint64(os.Getpagesize())/1024 {
		t.Errorf("%+v, %v", p, ok)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 (x) S 1", "x (y) " + strings.Repeat("0 ", 30)} {
		if _, ok := parseStat(bad); ok {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestMountWords(t *testing.T) {
	flags, then, err := parseMountFlags([]string{"ro", "nosuid", "rbind", "rslave"})
	if err != nil || flags != syscall.MS_RDONLY|syscall.MS_NOSUID|syscall.MS_BIND|syscall.MS_REC ||
		!slices.Equal(then, []uintptr{syscall.MS_SLAVE | syscall.MS_REC}) {
		t.Errorf("%#x, %#x, %v", flags, then, err)
	}
	var call *protocol.CallError
	if _, _, err := parseMountFlags([]string{"rO"}); !errors.As(err, &call) || call.Code != protocol.CodeInvalid {
		t.Errorf("got %v", err)
	}
}

func TestMountsAreUndoneChildrenFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mounts")
	table := "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n/dev/vda /data ext4 rw 0 0\n/dev/vdb /data/with\\040space ext4 rw 0 0\nshare /s 9p rw 0 0\nbroken\n"
	if err := os.WriteFile(file, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := dataMounts(file); !slices.Equal(got, []string{"/data/with space", "/data", "/s"}) {
		t.Errorf("%q", got)
	}
}

func TestOOMKillerIsRecognised(t *testing.T) {
	for log, want := range map[string]bool{
		"<3>Out of memory: kill process 55 (job) score 9 or a child\n<3>Killed process 55 (job)\n": true, // 2.6.32
		"<3>[ 5.0] Out of memory: Killed process 55 (job) total-vm:1kB\n":                          true, // 6.1
		"<3>[ 5.0] Memory cgroup out of memory: Killed process 55 (job) total-vm:1kB":              true,
		"<3>Killed process 551 (job)\n<3>Killed process 5 (job)\n":                                 false,
		"": false,
	} {
		if got := oomKilled(log, 55); got != want {
			t.Errorf("%q: %v", log, got)
		}
	}
}

func TestPathIsSearchedAsExecvpDoes(t *testing.T) {
	for name, c := range map[string]struct {
		name string
		env  []string
		want []string
	}{
		"with a slash": {"./x", []string{"PATH=/a"}, []string{"./x"}},
		"PATH":         {"x", []string{"PATH=/a::/b"}, []string{"/a/x", "./x", "/b/x"}},
		"last PATH":    {"x", []string{"PATH=/a", "PATH=/b"}, []string{"/b/x"}},
	} {
		if got := candidates(c.name, c.env); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := candidates("x", nil); len(got) != 6 {
		t.Errorf("default: %q", got)
	}
}

func TestModuleListNamesWhatFails(t *testing.T) {
	list := filepath.Join(t.TempDir(), "modules")
	if loaded, warnings := loadListed(list); loaded != nil || warnings != nil {
		t.Errorf("no list: %q, %q", loaded, warnings)
	}
	if err := os.WriteFile(list, []byte("# order\n\n/none/virtio.ko\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, warnings := loadListed(list); len(warnings) != 1 || !strings.Contains(warnings[0], "/none/virtio.ko") {
		t.Errorf("%q", warnings)
	}
}

func TestPortIsFoundByItsName(t *testing.T) {
	class := t.TempDir()
	for node, name := range map[string]string{"vport0p1": "other\n", "vport1p2": "org.runv\n"} {
		if err := os.Mkdir(filepath.Join(class, node), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(class, node, "name"), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := findPort(class, "org.runv"); got != "vport1p2" {
		t.Errorf("%q", got)
	}
	if got := findPort(class, "hvc0"); got != "" {
		t.Errorf("%q", got)
	}
	if _, err := openChannel(class, class, "../etc"); err == nil {
		t.Error("a path was taken for a name")
	}
}

func TestPanicIsLocated(t *testing.T) {
	var site string
	func() {
		defer func() {
			recover()
			site = panicSite(stackNow())
		}()
		none := []int{}
		none[len(site)] = 1
	}()
	if !strings.Contains(site, "TestPanicIsLocated") {
		t.Errorf("%q", site)
	}
}

func TestRequestsOfAForeignKind(t *testing.T) {
	ready := make(chan struct{})
	close(ready)
	off := make(chan protocol.Poweroff, 1)
	s := &server{ready: ready, jobs: newJobs(newReaper(), func() {}), off: off, crash: func() {}}
	for name, c := range map[string]struct {
		method, params string
		code           protocol.Code
	}{
		"unknown method":  {"container-start", "{}", protocol.CodeUnknown},
		"wrong type":      {"signal", `{"id":7}`, protocol.CodeInvalid},
		"no job":          {"signal", `{"id":"a","signal":9}`, protocol.CodeNotFound},
		"no such job":     {"wait", `{"id":"a"}`, protocol.CodeNotFound},
		"no id":           {"start", `{"args":["/bin/true"]}`, protocol.CodeInvalid},
		"relative path":   {"write-file", `{"path":"x"}`, protocol.CodeInvalid},
		"over the limit":  {"read-file", `{"path":"/x","limit":99999999}`, protocol.CodeTooLarge},
		"relative target": {"mount", `{"target":"x"}`, protocol.CodeInvalid},
		"endless grace":   {"poweroff", `{"graceMillis":-1}`, protocol.CodeInvalid},
	} {
		_, err := s.handle(context.Background(), c.method, []byte(c.params))
		var call *protocol.CallError
		if !errors.As(err, &call) || call.Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := s.handle(ctx, "poweroff", []byte(`{"graceMillis":5}`)); err != nil {
		t.Error(err)
	}
	select {
	case <-off:
		t.Error("the machine ends before the answer")
	default:
	}
	cancel()
	if p := <-off; p.GraceMillis != 5 {
		t.Errorf("%+v", p)
	}
}
