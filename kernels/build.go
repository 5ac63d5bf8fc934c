// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// BuildOptions are what does not change a kernel's bytes.
type BuildOptions struct {
	// Jobs is make's -j; the number of CPUs when 0.
	Jobs int
	// Verbose gets a copy of make's output as it comes. The log is kept anyway.
	Verbose io.Writer
}

// Build is a finished kernel in the cache.
type Build struct {
	Key string // names the recipe and the toolchain
	Dir string // the build's folder
	// Image is the bootable kernel, Vmlinux the ELF file with its symbols.
	Image, Config, SystemMap, Vmlinux string
	// Log is make's output. It may be gone when the build was cached.
	Log string
	// SHA256 holds the digests of the four files by their names in Dir.
	SHA256 map[string]string
	// KernelRelease is what `uname -r` says in the guest.
	KernelRelease string
	// Compiler is the first line of `gcc --version`.
	Compiler string
	// Cached says that the kernel was there already.
	Cached bool
	// Duration is how long the kernel took to build, when it was built.
	Duration time.Duration
}

// job is one call of Configure or Build: a recipe, the toolchain it met and the
// keys that follow.
type job struct {
	*Cache
	recipe   Recipe
	wanted   []request
	compiler Compiler
	key      string // of the build
	tree     string // of the work tree
	progress Progress
}

func (c *Cache) newJob(ctx context.Context, r Recipe, p Progress) (*job, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	wanted, err := r.requests()
	if err != nil {
		return nil, err
	}
	compiler, err := ProbeCompiler(ctx, r.Toolchain)
	if err != nil {
		return nil, err
	}
	j := &job{Cache: c, recipe: r, wanted: wanted, compiler: compiler, progress: p}
	j.key, j.tree, err = keys(r, compiler)
	return j, err
}

// Build gives the recipe's kernel: the one in the cache, or else a new one. Of
// several calls at once for one recipe, in any number of processes, one builds and
// the others wait for it and use it.
//
// A configuration that is not what the recipe asks for is a *ConfigError, a failed
// make a *CompileError, a host that lacks tools a *ToolchainError. When ctx is
// done make is stopped and the error is ctx's cause; what the build got to is not
// used again.
func (c *Cache) Build(ctx context.Context, r Recipe, o BuildOptions, p Progress) (*Build, error) {
	j, err := c.newJob(ctx, r, p)
	if err != nil {
		return nil, err
	}
	if b, ok := j.cachedBuild(); ok {
		return b, nil
	}
	unlock, err := c.Lock(ctx, treeLock(j.tree), StageKernel, p)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if b, ok := j.cachedBuild(); ok { // by whom we waited for
		return b, nil
	}
	if err := CheckTools(ctx, r.Toolchain, r.Version); err != nil {
		return nil, err
	}
	log, err := c.newLog(j.key, o.Verbose)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return j.build(ctx, o, log)
}

// cachedBuild is the finished build, if there is one and it is whole.
func (j *job) cachedBuild() (*Build, bool) {
	b, err := j.loadBuild(j.key)
	if err != nil {
		return nil, false
	}
	b.Cached = true
	j.progress.report(Event{Stage: StageKernel, State: Cached, Detail: b.KernelRelease})
	return b, true
}

// build makes the kernel in the work tree, which the caller has locked.
func (j *job) build(ctx context.Context, o BuildOptions, log *buildLog) (*Build, error) {
	start := time.Now()
	w, err := j.openTree(ctx, j.recipe, j.tree, j.progress)
	if err != nil {
		return nil, err
	}
	if err := w.mark(treeDirty); err != nil {
		return nil, err
	}
	config, err := j.configure(ctx, w, log)
	if err != nil {
		return nil, j.spareDisk(err)
	}
	if len(config.Problems) > 0 {
		// conf alone has run, and run well.
		if err := w.mark(treeClean); err != nil {
			return nil, err
		}
		return nil, &ConfigError{Version: j.recipe.Version, Problems: config.Problems}
	}
	if err := j.compile(ctx, w, config.Config, o, log); err != nil {
		return nil, j.spareDisk(err)
	}
	w.Config = string(config.Config)
	if err := w.mark(treeClean); err != nil {
		return nil, err
	}
	b, err := j.store(ctx, w, time.Since(start))
	return b, j.spareDisk(err)
}

// compile runs make for the recipe's target.
func (j *job) compile(ctx context.Context, w *workTree, config []byte, o BuildOptions, log *buildLog) error {
	j.progress.report(Event{Stage: StagePlan, State: Started})
	// A tree whose objects cannot be counted can still be compiled.
	plan, planErr := w.plan(ctx, j.recipe, config)
	if planErr != nil {
		fmt.Fprintf(log, "+ # %s\n", strings.ReplaceAll(planErr.Error(), "\n", "\n+ # "))
	}
	j.progress.report(Event{Stage: StagePlan, State: Finished})

	jobs := o.Jobs
	if jobs <= 0 {
		jobs = runtime.NumCPU()
	}
	counter := newObjectCounter(plan, j.progress)
	fmt.Fprintf(log, "+ # %d objects to compile\n", len(counter.plan.rest))
	j.progress.report(counter.event(Started, ""))
	targets := []string{"-j" + strconv.Itoa(jobs), "vmlinux", j.recipe.Toolchain.target()}
	if err := j.make(ctx, w, log, makeRun{args: targets, line: counter.line}); err != nil {
		return err
	}
	j.progress.report(counter.finished())
	return nil
}

// make runs make in the work tree as all of its runs are: same variables, same
// environment, output into the log.
func (j *job) make(ctx context.Context, w *workTree, log *buildLog, m makeRun) error {
	m.dir = w.src()
	m.env = append(cleanEnv(w.shims()), m.env...)
	m.args = append(w.makeVars(j.recipe, j.compiler), m.args...)
	m.out = log
	log.command(m)
	err := m.run(ctx)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("build Linux %s: %w", j.recipe.Version, context.Cause(ctx))
	}
	return log.compileError(w.src(), err)
}

// release reads the kernel's release, what `uname -r` will say.
func (w *workTree) release() (string, error) {
	b, err := os.ReadFile(w.path("include", "config", "kernel.release"))
	if err != nil {
		return "", fmt.Errorf("read the kernel's release: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
