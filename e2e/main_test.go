// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the whole: the real programs, real kernels, real guests and
// a real registry.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// env2632 names a tarball of Linux 2.6.32.71. It can't be fetched everywhere,
// so tests that need it look here, then in kbuild's source cache.
const env2632 = "RUNV_TEST_LINUX_2_6_32"

// suite is what all tests share: the program, and one store that keeps the
// images that were built once.
var suite struct {
	kbuild string
	store  string
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "runv-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	suite.kbuild = filepath.Join(dir, "kbuild")
	suite.store = filepath.Join(dir, "store")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", suite.kbuild, "../cmd/kbuild")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build kbuild: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s", r.code, r.stdout, r.stderr)
}

// command is a run of kbuild that a test may alter before it starts.
type command struct {
	args  []string
	env   []string
	stdin string
	limit time.Duration
}

// kbuild runs the program with the shared store.
func kbuild(t testing.TB, args ...string) result {
	t.Helper()
	return command{args: args}.run(t)
}

func (c command) run(t testing.TB) result {
	t.Helper()
	if c.limit == 0 {
		c.limit = 20 * time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), c.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, suite.kbuild, c.args...)
	cmd.Env = append(append(os.Environ(), "RUNV_LEGACY_STORE="+suite.store), c.env...)
	cmd.Stdin = strings.NewReader(c.stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 30 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("kbuild %s: %v\n%s", strings.Join(c.args, " "), err, stderr.String())
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// must fails the test unless the command succeeded.
func (r result) must(t testing.TB) result {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("want success, got %v", r)
	}
	return r
}

// guestKernel is a kernel that the tests of guests run on.
type guestKernel struct {
	profile string
	version string // what uname -r begins with
}

var (
	old2632 = guestKernel{"2.6.32", "2.6.32.71"}
	debian6 = guestKernel{"debian-6.1", "6.1."}
)

// built remembers the images of this run.
var built struct {
	sync.Mutex
	digests map[string]string
}

// image builds the kernel's image once a run (from kbuild's cache, where an
// earlier run left it) and gives its reference.
func (k guestKernel) image(t testing.TB) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	ref := "kernels:" + k.profile
	if built.digests[k.profile] != "" {
		return ref
	}
	r := kbuild(t, append([]string{"--profile", k.profile}, k.source(t)...)...).must(t)
	if built.digests == nil {
		built.digests = map[string]string{}
	}
	built.digests[k.profile] = strings.TrimSpace(r.stdout)
	return ref
}

// source gives the flags that name the kernel's source, or skips the test
// where it can't be had.
func (k guestKernel) source(t testing.TB) []string {
	t.Helper()
	if k.profile != old2632.profile {
		return nil
	}
	if path := os.Getenv(env2632); path != "" {
		return []string{"--source", path}
	}
	if r := kbuild(t, "fetch", "--profile", k.profile); r.code != 0 {
		t.Skipf("no source of Linux %s: set %s to its tarball, or fill kbuild's cache with 'kbuild fetch --profile 2.6.32 --source TARBALL'",
			k.version, env2632)
	}
	return nil
}

// onEachKernel runs a test on guests of both kernels.
func onEachKernel(t *testing.T, test func(t *testing.T, k guestKernel)) {
	for _, k := range []guestKernel{old2632, debian6} {
		t.Run(k.profile, func(t *testing.T) { test(t, k) })
	}
}
