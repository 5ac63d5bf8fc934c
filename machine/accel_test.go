package machine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeHost is a host whose kvm looks fine, and whose payload runs as run says.
func fakeHost(t *testing.T, flags string, run func() (payloadRun, error)) (p *prober, runs *int) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.MkdirAll(filepath.Join(dir, "modules", "kvm_pvm"), 0o755); err != nil {
		t.Fatal(err)
	}
	runs = new(int)
	return &prober{
		qemu: file("qemu", "program"), cacheDir: filepath.Join(dir, "cache"),
		device: file("kvm", ""), bootID: file("boot_id", "first\n"), modules: filepath.Join(dir, "modules"),
		cpuinfo: file("cpuinfo", "processor\t: 0\nflags\t\t: fpu "+flags+" sse2\n"),
		run: func(_ context.Context, _, accel string) (payloadRun, error) {
			*runs++
			if accel != AccelKVM {
				t.Errorf("the payload ran on %s", accel)
			}
			return run()
		},
	}, runs
}

func TestProbe(t *testing.T) {
	fast := func() (payloadRun, error) { return payloadRun{true, 4 * time.Millisecond}, nil }
	for name, c := range map[string]struct {
		flags  string
		run    func() (payloadRun, error)
		change func(p *prober)
		name   string
		reason string
		runs   int // of two probes
	}{
		"hardware": {"vmx", fast, nil, AccelKVM, "in 4ms", 1},
		"AMD":      {"svm", fast, nil, AccelKVM, "in 4ms", 1},
		"no flag":  {"hypervisor", fast, nil, AccelTCG, "neither vmx nor svm: guest kernels would be interpreted (loaded: kvm_pvm)", 0},
		"like vmx": {"vmx_not", fast, nil, AccelTCG, "neither vmx nor svm", 0},
		"too slow to end": {"vmx", func() (payloadRun, error) { return payloadRun{}, nil }, nil,
			AccelTCG, "did not run 10 million guest instructions within 2s", 1},
		"slow, which load may explain": {"vmx", func() (payloadRun, error) { return payloadRun{true, time.Second}, nil }, nil,
			AccelTCG, "took 1s for 10 million", 2},
		"QEMU refuses": {"vmx", func() (payloadRun, error) { return payloadRun{}, errors.New("failed to initialize kvm") }, nil,
			AccelTCG, "failed to initialize kvm", 2},
		"no device":  {"vmx", fast, func(p *prober) { p.device += "-none" }, AccelTCG, "module not loaded", 0},
		"no boot id": {"vmx", fast, func(p *prober) { p.bootID += "-none" }, AccelKVM, "", 2},
		"no cpuinfo": {"vmx", fast, func(p *prober) { p.cpuinfo += "-none" }, AccelTCG, "processor's flags", 0},
		"cache is a file": {"vmx", fast, func(p *prober) {
			if err := os.WriteFile(p.cacheDir, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, AccelKVM, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			p, runs := fakeHost(t, c.flags, c.run)
			if c.change != nil {
				c.change(p)
			}
			for range 2 {
				got, err := p.probe(t.Context())
				if err != nil || got.Name != c.name || !strings.Contains(got.Reason, c.reason) || strings.Contains(got.Reason, "\n") {
					t.Errorf("probe = %+v, %v; want %s because ...%s...", got, err, c.name, c.reason)
				}
			}
			if *runs != c.runs {
				t.Errorf("the payload ran %d times in two probes, want %d", *runs, c.runs)
			}
		})
	}
}

func TestProbeCacheEndsWithWhatItDependsOn(t *testing.T) {
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(p *prober){
		"boot":         func(p *prober) { write(p.bootID, "second\n") },
		"QEMU":         func(p *prober) { write(p.qemu, "a newer program") },
		"module":       func(p *prober) { os.Mkdir(filepath.Join(p.modules, "kvm_intel"), 0o755) },
		"cache broken": func(p *prober) { write(p.cacheFile(), `{"key": "`) },
		"cache forged": func(p *prober) { write(p.cacheFile(), `{"key": "x", "accel": {"name": "kvm"}}`) },
	} {
		t.Run(name, func(t *testing.T) {
			p, runs := fakeHost(t, "vmx", func() (payloadRun, error) { return payloadRun{true, time.Millisecond}, nil })
			p.probe(t.Context())
			change(p)
			p.probe(t.Context())
			if *runs != 2 {
				t.Errorf("the payload ran %d times, want 2", *runs)
			}
		})
	}
}

func TestProbeIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, _ := fakeHost(t, "vmx", func() (payloadRun, error) {
		cancel()
		return payloadRun{}, errors.New("killed")
	})
	if got, err := p.probe(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("probe = %+v, %v; want the context's error", got, err)
	}
	if _, err := os.Stat(p.cacheFile()); err == nil {
		t.Error("a probe that was cancelled is cached")
	}
}

func TestProbeThisHost(t *testing.T) {
	if _, err := exec.LookPath(defaultQEMU); err != nil {
		t.Skipf("no QEMU: %v", err)
	}
	got, err := ProbeAccel(t.Context(), "", t.TempDir())
	if err != nil || got.Reason == "" {
		t.Fatalf("ProbeAccel = %+v, %v", got, err)
	}
	t.Logf("%s: %s", got.Name, got.Reason)
	if _, err := ProbeAccel(t.Context(), "/nonexistent/qemu", ""); !errors.Is(err, ErrQEMUMissing) {
		t.Errorf("without QEMU: %v, want %v", err, ErrQEMUMissing)
	}
}

// The payload is tried on tcg, which every host has.
func TestPayloadRuns(t *testing.T) {
	qemu, err := exec.LookPath(defaultQEMU)
	if err != nil {
		t.Skipf("no QEMU: %v", err)
	}
	run, err := runPayload(t.Context(), qemu, AccelTCG)
	if err != nil || !run.finished {
		t.Fatalf("runPayload = %+v, %v", run, err)
	}
	t.Logf("tcg took %v", run.took)
	// As slow as kvm under PVM is for the usual count.
	slow, err := runFirmware(t.Context(), qemu, AccelTCG, payload(1<<32-1))
	if err != nil || slow.finished {
		t.Errorf("a payload of 4000 million rounds: %+v, %v; want that it is not finished", slow, err)
	}
	if _, err := runPayload(t.Context(), qemu, "xen-none"); err == nil || !strings.Contains(err.Error(), "xen-none") {
		t.Errorf("an accelerator that is not there: %v, want QEMU's line", err)
	}
}

func TestForcedKVM(t *testing.T) {
	if _, err := os.Stat("/dev/kvm"); err == nil {
		t.Skip("this host has /dev/kvm")
	}
	cfg := idleConfig(t)
	cfg.Accel = AccelKVM
	m, err := Start(t.Context(), cfg)
	if err == nil {
		m.Close()
	}
	if !errors.Is(err, ErrNoKVM) || !strings.Contains(err.Error(), "auto or tcg") {
		t.Errorf("Start: %v, want %v and the mend", err, ErrNoKVM)
	}
}
