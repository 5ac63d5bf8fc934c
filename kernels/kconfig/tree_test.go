// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// load reads a tree out of a txtar of its files.
func load(t testing.TB, files string) (*Tree, error) {
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(files)).Files {
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return LoadTree(dir, "x86_64")
}

// oneFile reads a tree of one file, all of whose lines must make sense.
func oneFile(t testing.TB, text string) *Tree {
	t.Helper()
	tree, err := load(t, "-- Kconfig --\n"+text)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Ignored) > 0 {
		t.Fatalf("ignored %q", tree.Ignored)
	}
	return tree
}

const machineRoom = `
config MODULES
	bool "Modules"
menuconfig MACHINES
	bool "Machine room"
if MACHINES
config BUS
	bool
config DRIVER
	tristate "Driver"
	depends on BUS && !OLD
	help
	  config NOT_A_SYMBOL
	  select NOTHING

	  depends on NOTHING
config BRIDGE
	bool "Bridge"
	select BUS
endif
config OLD
	bool "Old ways"
config KEEPER
	bool "Keeper"
	select OLD
`

func TestExplainOff(t *testing.T) {
	tests := map[string]struct {
		files string
		sym   string
		want  string
		final Config
		text  []string
		needs []string
		unmet []string
	}{
		"down to the menu": {
			machineRoom, "DRIVER", "y", Config{},
			[]string{"DRIVER=y wanted, is not set", `its menu "Machine room" needs MACHINES, which is not set`, "depends on BUS, which is not set and has no prompt: it is selected by BRIDGE"},
			[]string{"MACHINES=y", "BRIDGE=y"}, []string{"MACHINES", "BUS"},
		},
		"a dependency that must be off": {
			machineRoom, "CONFIG_DRIVER", "y", Config{"MACHINES": "y", "BUS": "y", "OLD": "y"},
			[]string{"depends on !OLD", "OLD is y"}, []string{"OLD=n"}, []string{"!OLD"},
		},
		"a dependency that is selected and must be off": {
			machineRoom, "DRIVER", "y", Config{"MACHINES": "y", "BUS": "y", "OLD": "y", "KEEPER": "y"},
			[]string{"OLD is y, selected by KEEPER"}, nil, []string{"!OLD"},
		},
		"no prompt": {
			machineRoom, "BUS", "y", Config{"MACHINES": "y"},
			[]string{"has no prompt", "selected by BRIDGE"}, []string{"BRIDGE=y"}, nil,
		},
		"no modules": {
			machineRoom, "DRIVER", "m", Config{"MACHINES": "y", "BUS": "y"},
			[]string{"no modules without MODULES=y"}, []string{"MODULES=y"}, nil,
		},
		"not asked for": {
			machineRoom, "OLD", "y", Config{},
			[]string{"its dependencies hold"}, nil, nil,
		},
		"held down to m": {
			"config MODULES\n\tbool \"m\"\nconfig A\n\ttristate \"a\"\nconfig B\n\ttristate \"b\"\n\tdepends on A\n",
			"B", "y", Config{"A": "m", "B": "m", "MODULES": "y"},
			[]string{"B=y wanted, is m", "depends on A, which is m"}, []string{"A=y"}, []string{"A"},
		},
		"a bool may rest on m": {
			"config MODULES\n\tbool \"m\"\nconfig A\n\ttristate \"a\"\nconfig B\n\tbool \"b\"\n\tdepends on A\n",
			"B", "y", Config{"A": "m", "MODULES": "y"}, []string{"its dependencies hold"}, nil, nil,
		},
		"the nearest alternative": {
			"config A\n\tbool \"a\"\n\tdepends on B\nconfig B\n\tbool \"b\"\nconfig C\n\tbool \"c\"\nconfig X\n\tbool \"x\"\n\tdepends on A || C\n",
			"X", "y", Config{}, []string{"depends on A || C", "the nearest of them: C is not set"}, []string{"C=y"}, []string{"A || C"},
		},
		"a choice": {
			"choice\n\tprompt \"Sort\"\nconfig A\n\tbool \"a\"\nconfig B\n\tbool \"b\"\nendchoice\n",
			"B", "y", Config{"A": "y"}, []string{`of choice "Sort"`, "A is"}, []string{"A=n"}, nil,
		},
		"a menu's own dependency": {
			"config A\n\tbool \"a\"\nmenu \"Things\"\n\tdepends on A\nconfig B\n\tbool \"b\"\nendmenu\n",
			"B", "y", Config{}, []string{`its menu "Things" depends on A, which is not set`}, []string{"A=y"}, []string{"A"},
		},
		"a menu that is not visible": {
			"config A\n\tbool \"a\"\nmenu \"Things\"\n\tvisible if A\nconfig B\n\tbool \"b\"\nendmenu\n",
			"B", "y", Config{}, []string{`its menu "Things" is visible only with A`}, []string{"A=y"}, []string{"A"},
		},
		"another architecture": {
			"config A\n\tbool \"a\"\n\tdepends on \"$(ARCH)\" = \"sparc\"\n",
			"A", "y", Config{}, []string{`depends on "x86_64" = "sparc"`, "does not hold"}, nil, []string{`"x86_64" = "sparc"`},
		},
		"the compiler's word": {
			"config A\n\tbool \"a\"\n\tdepends on $(cc-option,-fmagic)\n",
			"A", "y", Config{}, []string{"depends on $(cc-option,-fmagic)", "for the compiler to say"}, nil, []string{"$(cc-option,-fmagic)"},
		},
		"a dependency that does not exist": {
			"config A\n\tbool \"a\"\n\tdepends on NOWHERE\n",
			"A", "y", Config{}, []string{"depends on NOWHERE, which does not exist in this kernel"}, nil, []string{"NOWHERE"},
		},
		"a range": {
			"config A\n\tint \"a\"\n\trange 2 64\n\tdefault 8\n",
			"A", "100", Config{"A": "64"}, []string{"between 2 and 64"}, nil, nil,
		},
		"a string for a bool": {
			machineRoom, "OLD", `"yes"`, Config{}, []string{"it is a bool"}, nil, nil,
		},
		"a circle of dependencies": {
			"config A\n\tbool \"a\"\n\tdepends on B\nconfig B\n\tbool \"b\"\n\tdepends on A\n",
			"A", "y", Config{}, []string{"depends on B, which is not set"}, nil, []string{"B"},
		},
		"two definitions, the nearer one": {
			"config A\n\tbool \"a\"\nconfig X\n\tbool \"x\"\n\tdepends on A && NOWHERE\nconfig X\n\tbool \"x\"\n\tdepends on A\n",
			"X", "y", Config{}, []string{"depends on A, which is not set"}, []string{"A=y"}, []string{"A"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			x := oneFile(t, tc.files).Explain(tc.sym, tc.want, tc.final)
			says(t, x, tc.text...)
			if !x.Exists || len(x.DefinedAt) == 0 || !slices.Equal(x.Needs, tc.needs) || !slices.Equal(x.Unmet, tc.unmet) {
				t.Errorf("got %+v, want needs %q and unmet %q", x, tc.needs, tc.unmet)
			}
		})
	}
}

func TestExplainOn(t *testing.T) {
	const expert = "config EXPERT\n\tbool \"e\"\nconfig A\n\tbool \"a\" if EXPERT\n\tdefault y\nconfig S\n\tbool \"s\"\n\tselect T\nconfig T\n\tbool \"t\"\nconfig D\n\tdef_bool y\nchoice\n\tprompt \"Sort\"\nconfig O\n\tbool \"o\"\nconfig P\n\tbool \"p\"\nendchoice\n"
	tests := map[string]struct {
		sym   string
		final Config
		text  string
	}{
		"a prompt that is not shown": {"A", Config{"A": "y"}, "can only be changed with its prompt, which is not shown: its prompt is shown only with EXPERT, which is not set; set EXPERT=y"},
		"selected":                   {"T", Config{"S": "y", "T": "y"}, "it is selected by S"},
		"no prompt":                  {"D", Config{"D": "y"}, "has no prompt and cannot be asked for; it is on by default (Kconfig:11: default y)"},
		"the choice needs one":       {"O", Config{"O": "y"}, `one of the members of choice "Sort" must be on`},
		"nothing in the way":         {"T", Config{"T": "y"}, "something later asked for another value"},
		"as wanted":                  {"T", Config{}, "T=n, as wanted"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			says(t, oneFile(t, expert).Explain(tc.sym, "n", tc.final), tc.text)
		})
	}
}

func TestExplainMissing(t *testing.T) {
	tree := oneFile(t, "config VIRTIO_BLK\n\tbool \"v\"\nconfig NET_9P\n\tbool \"9\"\n\tselect ELSEWHERE\nconfig A\n\tbool \"a\"\n")
	x := tree.Explain("VIRTIO_BKL", "y", Config{})
	says(t, x, "no symbol of that name", "did you mean VIRTIO_BLK?")
	if x.Exists || !slices.Equal(x.Similar, []string{"VIRTIO_BLK"}) {
		t.Errorf("got %+v", x)
	}
	says(t, tree.Explain("ELSEWHERE", "y", Config{}), "for this architecture (NET_9P mentions it)")
	if x := tree.Explain("QQQQQQQQ", "y", Config{}); len(x.Similar) > 0 {
		t.Errorf("%v are not like QQQQQQQQ", x.Similar)
	}
}

func TestLanguage(t *testing.T) {
	tree, err := load(t, `
-- Kconfig --
mainmenu "Test $(KERNELVERSION)"
comma := ,
sub = arch/$(SRCARCH)
cc-option = $(success,$(CC) $(1))
$(error-if,$(failure,true),no compiler)
source "$(sub)/Kconfig"
source "arch/$SRCARCH/Kconfig.old"
rsource "net/Kconf*"
osource "missing/Kconfig"
config LONG
	bool "long" if A && \
		B  # a comment
	depends on (A || \
	 !B) && C != "x#y"
	---help---
	   indented

	  less, and so the end of the help
config AFTER
    def_tristate m if 'A' = "A"
    modules
    imply LONG if A
-- arch/x86/Kconfig --
config A
	bool "a"
config ARCH
	string
	option env="ARCH"
config ON_X86
	bool "x"
	depends on ARCH = "x86_64"
-- arch/x86/Kconfig.old --
config B
	boolean "b"
-- net/Kconfig --
config NET
	bool "net"
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, sym := range []string{"A", "B", "NET", "LONG", "AFTER", "ON_X86"} {
		if !tree.Defined(sym) {
			t.Errorf("%s is not defined", sym)
		}
	}
	if len(tree.Ignored) != 1 || !strings.HasPrefix(tree.Ignored[0], "Kconfig:18: ") {
		t.Errorf("ignored %q, want line 18 alone", tree.Ignored)
	}
	terms := ""
	for _, term := range tree.symbols["LONG"].defs[0].terms(true) {
		terms += term.e.String() + ";"
	}
	if terms != `A || !B;C != "x#y";A;B;` {
		t.Errorf("LONG has the terms %s", terms)
	}
	says(t, tree.Explain("ON_X86", "y", Config{}), "its dependencies hold")
}

func TestLoadTreeRefuses(t *testing.T) {
	tests := map[string]struct{ files, err string }{
		"no Kconfig at all":            {"-- Makefile --\n", "arch/x86/Kconfig"},
		"a file that is not there":     {"-- Kconfig --\n\nsource \"gone/Kconfig\"\n", "Kconfig:2: source \"gone/Kconfig\""},
		"a file that sources itself":   {"-- Kconfig --\nsource \"Kconfig\"\n", "sources itself"},
		"a source outside of the tree": {"-- Kconfig --\nsource \"../../etc/passwd\"\n", "is not in the tree"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, tc.files)
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error is %v, want one with %q", err, tc.err)
			}
		})
	}
}

func TestSourceThroughALinkStaysInTheTree(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("config SECRET\n\tbool \"s\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "Kconfig")); err != nil {
		t.Fatal(err)
	}
	if tree, err := LoadTree(dir, "x86_64"); err == nil && tree.Defined("SECRET") {
		t.Error("a link out of the tree was followed")
	}
}

func TestHugeDisjunctionsEnd(t *testing.T) {
	var b strings.Builder
	for i := range 300 {
		name := "S" + strings.Repeat("X", i%7) + string(rune('A'+i%26)) + string(rune('A'+i/26))
		b.WriteString("config " + name + "\n\tbool\n\tselect T\n\tdepends on T || U || V\n")
	}
	b.WriteString("config T\n\tbool\nconfig U\n\tbool\n\nconfig V\n\tbool\n")
	tree := oneFile(t, b.String())
	done := make(chan Explanation)
	go func() { done <- tree.Explain("T", "y", Config{}) }()
	select {
	case x := <-done:
		if len(x.Text) > 10_000 {
			t.Errorf("the text has %d bytes", len(x.Text))
		}
	case <-time.After(30 * time.Second):
		t.Fatal("no end in sight")
	}
}

func FuzzKconfig(f *testing.F) {
	f.Add(machineRoom, "DRIVER", "y")
	f.Add("choice\nconfig A\n\tbool \"a\" if $(x,y\n\trange 1\nendchoice\nendif\nif (((\n", "A", "n")
	f.Add("config A\n\tdef_bool !!(A=B) && $(a)$(b) || 'x'\n\tselect A if A\n\thelp\nA = $(A)\nB += $(B)$(B)\nsource \"Kconfig*\"\n", "A", "m")
	f.Fuzz(func(t *testing.T, text, sym, want string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "Kconfig"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		tree, err := LoadTree(dir, "x86_64")
		if err != nil {
			return
		}
		for _, final := range []Config{{}, {"A": "y", "MODULES": "y"}} {
			if x := tree.Explain(sym, want, final); x.Text == "" {
				t.Error("an explanation without a text")
			}
			for _, name := range slices.Sorted(maps.Keys(tree.symbols)) {
				tree.Explain(name, "y", final)
			}
		}
	})
}
