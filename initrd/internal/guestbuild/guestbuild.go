// Package guestbuild compiles the programs that run in the guest from a
// checkout of the project. It is what `make` and the fallback of package
// initrd share, so that both give the same bytes.
package guestbuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
)

// Toolchain builds everything that runs in a guest: Go 1.23 is the last that
// supports Linux 2.6.32 (Go 1.24 wants 3.2), and 1.23.12 its last release.
const Toolchain = "go1.23.12"

// ErrNoGo is wrapped by [Target.Compile] when there is no go command.
var ErrNoGo = errors.New("no go command found")

const modulePath = "github.com/runv-legacy/runv-legacy"

// Target is one guest binary.
type Target struct {
	// Name is that of the binary.
	Name string

	// Dir is its module's folder below the checkout.
	Dir string

	// Output is the file that is embedded.
	Output string

	// LinkFlags are added to the linker's.
	LinkFlags string

	// CompileFlags are the compiler's, in the form of -gcflags.
	CompileFlags string
}

// GuestInit is process 1. Its entry point is one of its own, which lets it
// start in little memory (guestinit/entry_amd64.s).
func GuestInit() Target {
	return Target{Name: "guestinit", Dir: "guestinit", Output: "guestinit", LinkFlags: " -E main.entry"}
}

// Programs is the one binary of all small programs. It is unpacked into the
// guest's memory, and without inlining it is a seventh smaller.
func Programs() Target {
	return Target{Name: "programs", Dir: "guestinit/programs", Output: "programs.cpio.gz", CompileFlags: "all=-l"}
}

// Stamp is the file beside Output that holds the digest of its sources.
func (t Target) Stamp() string { return t.Name + ".sources" }

var moduleLine = regexp.MustCompile(`(?m)^module\s+(\S+)\s*$`)

// Root finds the checkout that the running program was compiled from, through
// the source path the compiler recorded. A program built with -trimpath, as
// released ones are, records none and has no checkout.
func Root() (string, bool) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", false
	}
	root := filepath.Join(filepath.Dir(file), "..", "..", "..")
	return root, IsCheckout(root)
}

// IsCheckout says whether dir is the root of this project.
func IsCheckout(dir string) bool {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return false
	}
	m := moduleLine.FindSubmatch(mod)
	return m != nil && string(m[1]) == modulePath
}

// Compile builds the target's binary from the checkout at root. The same
// sources give the same bytes wherever they stand.
func (t Target) Compile(ctx context.Context, root string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "runv-legacy-"+t.Name+"-")
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", t.Name, err)
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, t.Name)
	compile := t.compilePackage
	if t.Name == Programs().Name {
		compile = t.compileCommands
	}
	if err := compile(ctx, root, tmp, out); err != nil {
		return nil, fmt.Errorf("compile %s: %w", t.Name, err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", t.Name, err)
	}
	return data, nil
}

// compilePackage builds the module's top package.
func (t Target) compilePackage(ctx context.Context, root, _, out string) error {
	return t.goBuild(ctx, filepath.Join(root, t.Dir), "go", nil, out)
}

// goBuild builds the package in dir. No build id and no paths: they would make
// the bytes depend on where the checkout stands.
func (t Target) goBuild(ctx context.Context, dir, goCmd string, env []string, out string) error {
	return run(ctx, dir, env,
		goCmd, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="+t.LinkFlags, "-gcflags="+t.CompileFlags, "-o", out, ".")
}

// settings override the caller's environment wherever that could change the
// result. GOPROXY and its kin stay the caller's.
func settings() []string {
	return []string{
		"GOTOOLCHAIN=" + Toolchain,
		"GOOS=linux", "GOARCH=amd64", "GOAMD64=v1",
		"CGO_ENABLED=0",
		"GOFLAGS=", "GOWORK=off", "GO111MODULE=on", "GOEXPERIMENT=", "GODEBUG=",
	}
}

func run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	_, err := output(ctx, dir, env, name, args...)
	return err
}

// output runs a command under settings and gives its standard output.
func output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return "", fmt.Errorf("%w: install Go 1.21 or later (it fetches %s itself)", ErrNoGo, Toolchain)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), settings()...), env...)
	// The go command starts compilers; end them all with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		said := strings.TrimSpace(stdout.String() + stderr.String())
		return "", fmt.Errorf("%s in %s: %w\n%s", strings.Join(cmd.Args, " "), dir, err, said)
	}
	return stdout.String(), nil
}
