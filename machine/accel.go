package machine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
)

// Accel is what a guest runs on, and why.
type Accel struct {
	Name   string `json:"name"`   // AccelKVM or AccelTCG
	Reason string `json:"reason"` // one line, for people
}

// ProbeAccel finds out whether kvm is of use on this host; if not, the answer is
// tcg. That /dev/kvm opens proves nothing: under PVM (a guest kernel run without
// hardware virtualisation) it works, and interprets a guest's kernel a hundred
// times slower than tcg. So the processor has to show vmx or svm, and a payload
// of ours has to run as fast as only hardware does.
//
// What the payload showed is kept in cacheDir, if that is not "", until the host
// boots again or QEMU or the kvm module is another. An error is ctx's or says
// that qemu is not there; a probe that fails in any other way means tcg.
func ProbeAccel(ctx context.Context, qemu, cacheDir string) (Accel, error) {
	if qemu == "" {
		qemu = defaultQEMU
	}
	path, err := exec.LookPath(qemu)
	if err != nil {
		return Accel{}, fmt.Errorf("%w: %w; install Debian's qemu-system-x86, or name the program", ErrQEMUMissing, err)
	}
	return hostProber(path, cacheDir).probe(ctx)
}

// prober is a probe of one host.
type prober struct {
	qemu, cacheDir string
	// Files of the host.
	device, cpuinfo, bootID, modules string
	// run runs the payload; it is [runPayload] but in tests.
	run func(ctx context.Context, qemu, accel string) (payloadRun, error)
}

func hostProber(qemu, cacheDir string) *prober {
	return &prober{
		qemu: qemu, cacheDir: cacheDir,
		device: "/dev/kvm", cpuinfo: "/proc/cpuinfo",
		bootID: "/proc/sys/kernel/random/boot_id", modules: "/sys/module",
		run: runPayload,
	}
}

func (p *prober) probe(ctx context.Context) (Accel, error) {
	// Whether this user may use the device is not cached: it depends on who asks.
	if err := p.openDevice(); err != nil {
		return tcg("%v", err), nil
	}
	if flag, err := p.virtFlag(); err != nil {
		return tcg("read the processor's flags: %v", err), nil
	} else if flag == "" {
		return tcg("%s is there, but the processor shows neither vmx nor svm: guest kernels would be interpreted%s", p.device, p.moduleNote()), nil
	}
	key, err := p.key()
	if err == nil && p.cacheDir != "" {
		if found, ok := p.cached(key); ok {
			return found, nil
		}
	}
	found, conclusive, probeErr := p.measure(ctx)
	if probeErr != nil {
		return Accel{}, probeErr
	}
	if err == nil && conclusive && p.cacheDir != "" {
		// The next probe is merely slower without it.
		_ = p.store(key, found)
	}
	return found, nil
}

func tcg(format string, args ...any) Accel {
	return Accel{Name: AccelTCG, Reason: fmt.Sprintf(format, args...)}
}

func (p *prober) openDevice() error {
	f, err := os.OpenFile(p.device, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("no %s (kvm module not loaded, or virtualisation is off in the firmware)", p.device)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no permission for %s (is this user in the group kvm?)", p.device)
	}
	return err
}

// virtFlag is vmx or svm, or "" when the processor shows neither.
func (p *prober) virtFlag() (string, error) {
	data, err := os.ReadFile(p.cpuinfo)
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(data) {
		name, value, _ := strings.Cut(string(line), ":")
		if strings.TrimSpace(name) != "flags" {
			continue
		}
		for flag := range strings.FieldsSeq(value) {
			if flag == "vmx" || flag == "svm" {
				return flag, nil
			}
		}
	}
	return "", nil
}

// kvmModules are the loaded modules that give /dev/kvm its way of working.
func (p *prober) kvmModules() []string {
	paths, _ := filepath.Glob(filepath.Join(p.modules, "kvm*"))
	for i := range paths {
		paths[i] = filepath.Base(paths[i])
	}
	return paths
}

func (p *prober) moduleNote() string {
	if modules := p.kvmModules(); len(modules) > 0 {
		return " (loaded: " + strings.Join(modules, ", ") + ")"
	}
	return ""
}

// measure runs the payload. Its second result tells whether another run in this
// boot would show the same.
func (p *prober) measure(ctx context.Context) (found Accel, conclusive bool, err error) {
	run, err := p.run(ctx, p.qemu, AccelKVM)
	switch {
	case ctx.Err() != nil:
		return Accel{}, false, fmt.Errorf("probe kvm: %w", context.Cause(ctx))
	case err != nil:
		return tcg("kvm failed its probe: %v", err), false, nil
	case !run.finished:
		return tcg("kvm did not run %d million guest instructions within %v, which hardware does in 5 ms%s", payloadInstructions/1_000_000, payloadLimit, p.moduleNote()), true, nil
	case run.took > payloadFast:
		return tcg("kvm took %v for %d million guest instructions, which hardware does in 5 ms%s", run.took.Round(1e6), payloadInstructions/1_000_000, p.moduleNote()), false, nil
	}
	return Accel{Name: AccelKVM, Reason: fmt.Sprintf("kvm ran %d million guest instructions in %v", payloadInstructions/1_000_000, run.took.Round(1e5))}, true, nil
}

// key names all that the payload's result depends on. A program's size, time and
// inode tell one QEMU from another without the 20 ms of `qemu --version`.
func (p *prober) key() (string, error) {
	boot, err := os.ReadFile(p.bootID)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(p.qemu)
	if err != nil {
		return "", err
	}
	var inode uint64
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = stat.Ino
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "1\n%s\n%s\n%d\n%d\n%d\n%q\n",
		bytes.TrimSpace(boot), p.qemu, info.Size(), info.ModTime().UnixNano(), inode, p.kvmModules()))
	return hex.EncodeToString(sum[:]), nil
}

type cachedAccel struct {
	Key   string `json:"key"`
	Accel Accel  `json:"accel"`
}

func (p *prober) cacheFile() string { return filepath.Join(p.cacheDir, "accel.json") }

// cached is what was stored for key; a file that cannot be read is as none.
func (p *prober) cached(key string) (Accel, bool) {
	data, err := os.ReadFile(p.cacheFile())
	if err != nil {
		return Accel{}, false
	}
	var c cachedAccel
	if json.Unmarshal(data, &c) != nil || c.Key != key || (c.Accel.Name != AccelKVM && c.Accel.Name != AccelTCG) {
		return Accel{}, false
	}
	return c.Accel, true
}

func (p *prober) store(key string, found Accel) error {
	data, err := json.Marshal(cachedAccel{key, found})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.cacheDir, 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(p.cacheFile(), append(data, '\n'), 0o644)
}

// chooseAccel is the accelerator for cfg: the one it names, or what a probe
// finds.
func chooseAccel(ctx context.Context, cfg *Config) (Accel, error) {
	switch cfg.Accel {
	case AccelAuto:
		return ProbeAccel(ctx, cfg.QEMU, cfg.CacheDir)
	case AccelKVM:
		if err := hostProber(cfg.QEMU, "").openDevice(); err != nil {
			return Accel{}, fmt.Errorf("%w: %w; use the accelerator auto or tcg", ErrNoKVM, err)
		}
	}
	return Accel{Name: cfg.Accel, Reason: "asked for by name"}, nil
}
