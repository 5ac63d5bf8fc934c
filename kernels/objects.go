// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/runv-legacy/runv-legacy/kernels/kconfig"
)

// planLimit bounds the count of objects. The count is for the progress display
// only; a tree whose Makefiles cannot be counted in this time is built without.
const planLimit = 10 * time.Second

// objects is the set of objects (paths in the tree) that a build is to compile.
type objects struct {
	// all is what a build from nothing compiles; rest is what this one does.
	all, rest map[string]bool
}

// dirLists are the variables in which the top and the architecture's Makefile
// name the folders of vmlinux (Documentation/kbuild/makefiles.rst, "List
// directories to visit when descending").
var dirLists = regexp.MustCompile(`^(?:init|core|drivers|net|libs|virt)-(?:y|\$\(CONFIG_\w+\))\s*[:+]?=`)

// plan finds the objects that a build of config in this tree compiles.
func (w *workTree) plan(ctx context.Context, r Recipe, config []byte) (objects, error) {
	o, err := w.planObjects(ctx, r)
	if err != nil || w.Config == "" {
		return o, err
	}
	before, err := kconfig.ParseConfig(strings.NewReader(w.Config))
	if err != nil {
		return o, err
	}
	after, err := kconfig.ParseConfig(bytes.NewReader(config))
	if err != nil {
		return o, err
	}
	return w.remaining(o, before, after), nil
}

// planObjects lists the objects that a build of the tree's .config compiles, by
// letting make read every folder's Makefile as scripts/Makefile.build does, in
// one process that runs nothing. It is an estimate: objects that a Makefile makes
// by a rule of its own and lists nowhere are not in it.
func (w *workTree) planObjects(ctx context.Context, r Recipe) (objects, error) {
	ctx, cancel := context.WithTimeout(ctx, planLimit)
	defer cancel()
	var lists []string
	for _, name := range []string{"Makefile", "arch/x86/Makefile"} {
		l, err := folderLists(w.path(name))
		if err != nil {
			return objects{}, err
		}
		lists = append(lists, l...)
	}
	cmd := exec.CommandContext(ctx, "make", "-rR", "-f", "-", "plan", "ARCH="+r.Arch)
	cmd.Dir = w.src()
	cmd.Env = cleanEnv("")
	cmd.Stdin = strings.NewReader(strings.Replace(planMakefile, "@LISTS@", strings.Join(lists, "\n"), 1))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return objects{}, fmt.Errorf("count the objects of %s: %w\n%s", w.src(), err, stderr.Bytes())
	}
	o := objects{all: parsePlan(out)}
	for name := range o.all {
		// Makefiles list objects under conditions that only a real build knows;
		// one without source is not compiled from any.
		if !w.hasSource(name) {
			delete(o.all, name)
		}
	}
	return o, nil
}

// hasSource says whether an object's source is in the tree. The source of a few
// is generated, and is not there before the first build.
func (w *workTree) hasSource(object string) bool {
	stem := strings.TrimSuffix(w.path(object), ".o")
	for _, ext := range []string{".c", ".S", ".o"} {
		if _, err := os.Lstat(stem + ext); err == nil {
			return true
		}
	}
	return false
}

// folderLists finds the assignments of dirLists in a Makefile.
func folderLists(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("count objects: %w", err)
	}
	var lists []string
	for line := range strings.Lines(strings.ReplaceAll(string(data), "\\\n", " ")) {
		// The second kind of assignment turns folders into files:
		// init-y := $(patsubst %/, %/built-in.o, $(init-y)), libs-y := $(libs-y1) $(libs-y2).
		_, value, _ := strings.Cut(line, "=")
		if dirLists.MatchString(line) && !strings.Contains(value, "$(") {
			lists = append(lists, strings.TrimRight(line, "\n"))
		}
	}
	return lists, nil
}

// parsePlan reads planMakefile's output: one line a folder, "D folder object...".
func parsePlan(out []byte) map[string]bool {
	all := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "D" {
			continue
		}
		for _, o := range f[2:] {
			if !strings.HasPrefix(o, f[1]+"/") {
				o = path.Join(f[1], o)
			}
			all[path.Clean(o)] = true
		}
	}
	return all
}

//go:embed objects.mk
var planMakefile string

// compiled is a line of make's quiet output that says that an object is being
// compiled or assembled.
var compiled = regexp.MustCompile(`^  (?:CC|AS) (?:\[M\])? *(\S+\.o)$`)

// remaining narrows o down to what must be compiled again: objects that are not
// there, and those for which fixdep recorded (scripts/basic/fixdep.c) that they
// depend on a symbol whose value differs between the two configurations.
func (w *workTree) remaining(o objects, before, after kconfig.Config) objects {
	changed := map[string]bool{}
	for name, v := range after {
		if before[name] != v {
			changed[symbolFile(name)] = true
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			changed[symbolFile(name)] = true
		}
	}
	o.rest = map[string]bool{}
	for name := range o.all {
		if w.stale(name, changed) {
			o.rest[name] = true
		}
	}
	return o
}

// symbolFile is how fixdep's records name a symbol, in the one spelling that
// those of all versions are brought to: "net/9p.h" in 2.6.32, "NET_9P" since 5.14.
func symbolFile(symbol string) string {
	return strings.ToLower(symbol)
}

// configDep is a symbol in a .cmd file: $(wildcard include/config/net/9p.h).
var configDep = regexp.MustCompile(`include/config/([\w/]+)(?:\.h)?\)`)

// stale says whether make will compile an object again.
func (w *workTree) stale(object string, changed map[string]bool) bool {
	if _, err := os.Lstat(w.path(object)); err != nil {
		return true
	}
	dir, base := filepath.Split(w.path(object))
	cmd, err := os.ReadFile(dir + "." + base + ".cmd")
	if err != nil {
		return true
	}
	for _, m := range configDep.FindAllSubmatch(cmd, -1) {
		// A "/" stands for a "_" of the symbol.
		if changed[strings.ToLower(strings.ReplaceAll(string(m[1]), "/", "_"))] {
			return true
		}
	}
	return false
}

// objectCounter turns make's output into progress events.
type objectCounter struct {
	plan     objects
	seen     map[string]bool
	progress Progress
}

func newObjectCounter(o objects, p Progress) *objectCounter {
	if o.rest == nil {
		o.rest = o.all
	}
	o.rest = maps.Clone(o.rest)
	return &objectCounter{plan: o, seen: map[string]bool{}, progress: p}
}

// line looks at one line of make's output.
func (n *objectCounter) line(s string) {
	m := compiled.FindStringSubmatch(s)
	if m == nil || n.seen[m[1]] {
		return // init/version.o is compiled twice
	}
	name := m[1]
	switch {
	case len(n.plan.all) == 0: // nothing is known: count what comes
	case n.plan.rest[name]:
	case n.plan.all[name]: // expected to be up to date, and was not
		n.plan.rest[name] = true
	default: // not in the plan: showing it could exceed 100 %
		return
	}
	n.seen[name] = true
	n.progress.report(n.event(Advanced, name))
}

func (n *objectCounter) event(s State, detail string) Event {
	return Event{
		Stage: StageCompile, State: s, Done: int64(len(n.seen)), Total: int64(len(n.plan.rest)),
		Unit: UnitObjects, Detail: detail,
	}
}

// finished is the last event: all that is done is all there was to do.
func (n *objectCounter) finished() Event {
	e := n.event(Finished, "")
	e.Total = e.Done
	return e
}
