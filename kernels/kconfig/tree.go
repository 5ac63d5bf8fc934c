// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Tree is what the Kconfig files of a kernel tree say for one architecture.
type Tree struct {
	// Ignored are the lines that made no sense, as "file:line: why". conf warns of
	// them or fails; a kernel that can be configured at all has next to none.
	Ignored []string

	root    *os.Root
	symbols map[string]*symbol
	vars    map[string]value
	files   int
}

// symbol is all that is said of one symbol.
type symbol struct {
	name    string
	typ     string // "bool", "tristate", "string", "int", "hex", "" if nobody says
	defs    []*entry
	by      []selection // who selects it
	implied []selection // who implies it
	env     string      // option env="NAME"
}

// selection is a select or imply seen from its target.
type selection struct {
	from *entry
	cond *expr
}

// entryKind is the kind of an entry.
type entryKind int

const (
	entryRoot entryKind = iota
	entryMenu
	entryConfig // config and menuconfig
	entryChoice
	entryComment
	entryIf
)

// entry is a block of a Kconfig file: a definition of a symbol, or what encloses
// other blocks.
type entry struct {
	kind    entryKind
	file    string
	line    int
	parent  *entry
	symbol  *symbol // of a config, and of a choice that has a name
	menu    bool    // a menuconfig
	prompt  string
	asked   *expr // condition of the prompt
	depends []*expr
	visible []*expr // of a menu
	members []*entry
	// defaults and ranges in order, each with its condition.
	defaults []conditional
	ranges   []valueRange
}

type conditional struct{ value, cond *expr }

type valueRange struct{ low, high, cond *expr }

// where is an entry's place.
func (e *entry) where() string { return fmt.Sprintf("%s:%d", e.file, e.line) }

// Limits on what a tree may make LoadTree read. 6.1 has 1700 Kconfig files, which
// source each other five deep; its largest has 90 KB.
const (
	maxFiles    = 20_000
	maxFileSize = 8 << 20
	maxSources  = 64
	maxIgnored  = 100
)

// LoadTree reads the Kconfig files of the kernel in dir for an architecture, which
// is make's ARCH: "x86_64".
func LoadTree(dir, arch string) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("read Kconfig: %w", err)
	}
	defer root.Close()
	t := &Tree{root: root, symbols: map[string]*symbol{}, vars: variables(arch)}
	start := "Kconfig"
	if _, err := root.Stat(start); errors.Is(err, fs.ErrNotExist) {
		// 2.6.32 has no Kconfig at the top: the architecture's file is the first.
		start = path.Join("arch", t.vars["SRCARCH"].text, "Kconfig")
	}
	p := &parser{tree: t, in: &entry{kind: entryRoot}}
	if err := p.source(start, 0); err != nil {
		return nil, fmt.Errorf("read Kconfig of %s: %w", dir, err)
	}
	t.link()
	return t, nil
}

// variables are those of make's environment that Kconfig files may use and that
// do not depend on the compiler.
func variables(arch string) map[string]value {
	src := arch
	switch arch { // the top Makefile, "Additional ARCH settings"
	case "x86_64", "i386":
		src = "x86"
	case "sparc32", "sparc64":
		src = "sparc"
	}
	vars := map[string]value{}
	for name, text := range map[string]string{"ARCH": arch, "SRCARCH": src, "HEADER_ARCH": src, "srctree": "."} {
		vars[name] = value{text, true}
	}
	return vars
}

// link turns the selects of all entries round, once all symbols are known.
func (t *Tree) link() {
	for _, s := range t.symbols {
		if s.typ != "" {
			continue
		}
		for _, d := range s.defs { // a member may leave its type to the choice
			if d.parent.kind == entryChoice {
				s.typ = "bool"
			}
		}
	}
}

// symbol gives the symbol of a name, which it may be the first to mention.
func (t *Tree) symbol(name string) *symbol {
	s := t.symbols[name]
	if s == nil {
		s = &symbol{name: name}
		t.symbols[name] = s
	}
	return s
}

// defined is the symbol of a name if some file defines it.
func (t *Tree) defined(name string) *symbol {
	if s := t.symbols[name]; s != nil && len(s.defs) > 0 {
		return s
	}
	return nil
}

// Defined says whether the tree defines a symbol.
func (t *Tree) Defined(name string) bool {
	return t.defined(strings.TrimPrefix(name, "CONFIG_")) != nil
}

// Len is how many symbols the tree defines.
func (t *Tree) Len() int {
	n := 0
	for _, s := range t.symbols {
		if len(s.defs) > 0 {
			n++
		}
	}
	return n
}

// ignore notes a line that made no sense.
func (t *Tree) ignore(file string, line int, why string) {
	if len(t.Ignored) < maxIgnored {
		t.Ignored = append(t.Ignored, fmt.Sprintf("%s:%d: %s", file, line, why))
	}
}

// sources resolves what a source statement names: relative to the tree, or with
// relative to the file it is in, patterns included.
func (t *Tree) sources(name, from string, relative bool) ([]string, error) {
	if relative {
		name = path.Join(path.Dir(from), name)
	}
	name = path.Clean(name)
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("source %q is not in the tree", name)
	}
	if !strings.ContainsAny(name, "*?[") {
		return []string{name}, nil
	}
	return fs.Glob(t.root.FS(), name)
}

// read reads one file.
func (t *Tree) read(name string) (string, error) {
	if t.files++; t.files > maxFiles {
		return "", fmt.Errorf("more than %d files are sourced", maxFiles)
	}
	info, err := t.root.Stat(name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFileSize {
		return "", fmt.Errorf("%s is not a file of at most %d bytes", name, maxFileSize)
	}
	b, err := t.root.ReadFile(name)
	return string(b), err
}
