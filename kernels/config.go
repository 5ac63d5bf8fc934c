// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The bases of a configuration.
const (
	baseAllNo = "allnoconfig" // everything off that can be
	baseDef   = "defconfig"   // the architecture's default
)

// ConfigResult is a finished configuration.
type ConfigResult struct {
	// Config is the final .config.
	Config []byte
	// Problems are the symbols that are not what the recipe asks for, in the order
	// of the fragments.
	Problems []ConfigProblem
}

// ConfigProblem is a symbol that a fragment asks for and that the final .config
// has otherwise.
type ConfigProblem struct {
	Symbol string // "CONFIG_VIRTIO_NET"
	// Fragment and Line are where it is asked for.
	Fragment string
	Line     int
	// Wanted and Got are values as .config has them; "n" is a symbol that is not
	// set or not visible.
	Wanted, Got string
	// Unknown says that this kernel has no such symbol.
	Unknown bool
	// Why says in a sentence what the symbol's dependencies, its type or what
	// selects it have to do with it, and what to ask for as well.
	Why string
	// Unmet are the dependencies that do not hold, as the Kconfig files state
	// them; Needs are the settings that would mend it, "VIRTUALIZATION=y".
	Unmet, Needs []string
}

// String has one line: where it is asked for, and why it is not so.
func (p ConfigProblem) String() string {
	if p.Line == 0 { // not asked for by a line of a fragment
		return p.Fragment + ": " + p.Why
	}
	return fmt.Sprintf("%s:%d: %s", p.Fragment, p.Line, p.Why)
}

// ConfigError is a configuration that is not what the recipe asks for.
type ConfigError struct {
	Version  string
	Problems []ConfigProblem
}

// Error has a line for each problem.
func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString(strings.TrimRight("Linux "+e.Version, " ") + " cannot be configured as asked:")
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// Configure gives the final .config of a recipe and what in it is not as asked,
// which is no error here. The outcome is cached like a build.
func (c *Cache) Configure(ctx context.Context, r Recipe, p Progress) (ConfigResult, error) {
	j, err := c.newJob(ctx, r, p)
	if err != nil {
		return ConfigResult{}, err
	}
	if res, ok := j.cachedConfig(); ok {
		p.report(Event{Stage: StageConfigure, State: Cached})
		return res, nil
	}
	unlock, err := c.Lock(ctx, treeLock(j.tree), StageConfigure, p)
	if err != nil {
		return ConfigResult{}, err
	}
	defer unlock()
	if err := CheckTools(ctx, r.Toolchain, r.Version); err != nil {
		return ConfigResult{}, err
	}
	log, err := c.newLog(j.key+".config", nil)
	if err != nil {
		return ConfigResult{}, err
	}
	defer log.Close()
	w, err := j.openTree(ctx, r, j.tree, p)
	if err != nil {
		return ConfigResult{}, err
	}
	if err := w.mark(treeDirty); err != nil {
		return ConfigResult{}, err
	}
	res, err := j.configure(ctx, w, log)
	if err != nil {
		return ConfigResult{}, j.spareDisk(err)
	}
	return res, w.mark(treeClean)
}

// configure leaves the recipe's .config in the work tree.
func (j *job) configure(ctx context.Context, w *workTree, log *buildLog) (ConfigResult, error) {
	if res, ok := j.cachedConfig(); ok {
		j.progress.report(Event{Stage: StageConfigure, State: Cached})
		if err := os.WriteFile(w.path(".config"), res.Config, 0o644); err != nil {
			return ConfigResult{}, fmt.Errorf("write .config: %w", err)
		}
		return res, nil
	}
	j.progress.report(Event{Stage: StageConfigure, State: Started})
	run := j.runAllNo
	if j.recipe.Base == baseDef {
		run = j.runDef
	}
	if err := run(ctx, w, log); err != nil {
		return ConfigResult{}, err
	}
	config, err := os.ReadFile(w.path(".config"))
	if err != nil {
		return ConfigResult{}, fmt.Errorf("read .config: %w", err)
	}
	problems, err := j.check(w, config)
	if err != nil {
		return ConfigResult{}, err
	}
	if err := j.storeConfig(config, problems); err != nil {
		return ConfigResult{}, err
	}
	j.progress.report(Event{Stage: StageConfigure, State: Finished})
	return ConfigResult{Config: config, Problems: j.name(problems)}, nil
}

// runAllNo has conf read the requests instead of asking for each symbol. All
// versions since 2.6.16 know KCONFIG_ALLCONFIG (Documentation/kbuild/kconfig.txt).
func (j *job) runAllNo(ctx context.Context, w *workTree, log *buildLog) error {
	file, done, err := j.requestFile()
	if err != nil {
		return err
	}
	defer done()
	return j.make(ctx, w, log, makeRun{
		args: []string{baseAllNo},
		env:  []string{"KCONFIG_ALLCONFIG=" + file},
	})
}

// runDef lays the requests over the architecture's defconfig and has conf take
// the default of every symbol that is new then. olddefconfig would, but 2.6.32
// does not have it; oldconfig that is answered with empty lines does the same.
func (j *job) runDef(ctx context.Context, w *workTree, log *buildLog) error {
	if err := j.make(ctx, w, log, makeRun{args: []string{baseDef}}); err != nil {
		return err
	}
	config, err := os.ReadFile(w.path(".config"))
	if err != nil {
		return fmt.Errorf("read the default .config: %w", err)
	}
	config = overlay(config, j.merged())
	if err := os.WriteFile(w.path(".config"), config, 0o644); err != nil {
		return fmt.Errorf("write .config: %w", err)
	}
	return j.make(ctx, w, log, makeRun{
		args:  []string{"oldconfig"},
		stdin: bytes.NewReader(bytes.Repeat([]byte("\n"), oldconfigAnswers)),
	})
}

// oldconfigAnswers is more than any kernel has symbols.
const oldconfigAnswers = 1 << 16

// requestFile writes the merged requests for conf. It is outside of the tree: what
// is in the tree might become part of the kernel.
func (j *job) requestFile() (file string, done func(), err error) {
	dir, done, err := j.TempDir("config")
	if err != nil {
		return "", nil, err
	}
	file = filepath.Join(dir, "requests.config")
	if err := os.WriteFile(file, []byte(settings(j.merged())), 0o644); err != nil {
		done()
		return "", nil, fmt.Errorf("write the requested configuration: %w", err)
	}
	return file, done, nil
}
