// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runv-legacy/runv-legacy/kernels/kconfig"
)

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}

func TestPlanIsRead(t *testing.T) {
	out := "D . \nnoise\nD kernel sched.o fork.o time/timer.o sched.o\nD arch/x86/boot arch/x86/boot/a20.o ../lib/x.o\n"
	want := []string{"arch/x86/boot/a20.o", "arch/x86/lib/x.o", "kernel/fork.o", "kernel/sched.o", "kernel/time/timer.o"}
	if got := sortedKeys(parsePlan([]byte(out))); !slices.Equal(got, want) {
		t.Errorf("plan %v, want %v", got, want)
	}
}

func TestFoldersOfATopMakefile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Makefile")
	text := `core-y		:= usr/
core-y		+= kernel/ mm/ \
		   fs/
drivers-$(CONFIG_PCI)   += arch/x86/pci/
libs-y		:= lib/
head-y := arch/x86/kernel/head_$(BITS).o
core-y		:= $(patsubst %/, %/built-in.o, $(core-y))
libs-y1		:= $(patsubst %/, %/lib.a, $(libs-y))
libs-y		:= $(libs-y1) $(libs-y2)
`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := folderLists(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i] = strings.Join(strings.Fields(got[i]), " ")
	}
	want := []string{"core-y := usr/", "core-y += kernel/ mm/ fs/", "drivers-$(CONFIG_PCI) += arch/x86/pci/", "libs-y := lib/"}
	if !slices.Equal(got, want) {
		t.Errorf("lists %q, want %q", got, want)
	}
}

func TestProgressNeverExceedsThePlan(t *testing.T) {
	var rec recorder
	n := newObjectCounter(objects{all: set("a.o", "b.o", "c.o"), rest: set("a.o")}, rec.progress)
	for line := range strings.Lines(`  HOSTCC  scripts/x.o
  CC      a.o
  CC      a.o
  CC      /tmp/linux/tools/objtool/elf.o
  CC      scripts/mod/empty.o
  AS      b.o
  CC [M]  c.o
  LD      vmlinux.o
   CC      d.o
`) {
		n.line(strings.TrimRight(line, "\n"))
	}
	var got [][2]int64
	for _, e := range rec.events {
		got = append(got, [2]int64{e.Done, e.Total})
	}
	// b.o and c.o were thought to be up to date.
	if want := [][2]int64{{1, 1}, {2, 2}, {3, 3}}; !slices.Equal(got, want) {
		t.Errorf("progress %v, want %v", got, want)
	}
	if e := n.finished(); e.Done != 3 || e.Total != 3 || e.State != Finished {
		t.Errorf("last event %+v", e)
	}
}

func TestProgressWithoutAPlanCounts(t *testing.T) {
	var rec recorder
	n := newObjectCounter(objects{}, rec.progress)
	n.line("  CC      a.o")
	if want := []Event{{Stage: StageCompile, State: Advanced, Done: 1, Unit: UnitObjects, Detail: "a.o"}}; !slices.Equal(rec.events, want) {
		t.Errorf("events %+v, want %+v", rec.events, want)
	}
}

func TestSymbolsOfRecordedDependencies(t *testing.T) {
	k := newTiny(t, t.TempDir())
	k.mustBuild(k.with(withVirtio), BuildOptions{}, nil)
	_, tree := k.keysOf(k.recipe)
	w := &workTree{dir: k.path(treesDir, tree)}
	o := objects{all: set("kernel/main.o", "kernel/printk.o", "kernel/never.o")}
	config := func(virtio string) kconfig.Config { return kconfig.Config{"VIRTIO": virtio, "OTHER": "y"} }
	for name, c := range map[string]struct {
		after kconfig.Config
		want  []string
	}{
		"nothing changed": {config("y"), []string{"kernel/never.o"}},
		"value changed":   {config("n"), []string{"kernel/main.o", "kernel/never.o"}},
		"symbol gone":     {kconfig.Config{"OTHER": "y"}, []string{"kernel/main.o", "kernel/never.o"}},
		"another changed": {kconfig.Config{"VIRTIO": "y", "OTHER": "n"}, []string{"kernel/never.o"}},
	} {
		if got := sortedKeys(w.remaining(o, config("y"), c.after).rest); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
