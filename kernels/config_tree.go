// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// symbolTree is what the Kconfig files of a tree define: each symbol, and the
// conditions its definitions state.
type symbolTree struct {
	conditions map[string][]string
}

// loadKconfig reads the Kconfig files of a work tree.
func (w *workTree) loadKconfig() (symbolTree, error) {
	t := symbolTree{map[string][]string{}}
	err := filepath.WalkDir(w.src(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(d.Name(), "Kconfig") {
			return err
		}
		return t.read(path)
	})
	if err != nil {
		return symbolTree{}, fmt.Errorf("read the Kconfig files of %s: %w", w.src(), err)
	}
	return t, nil
}

// read reads one Kconfig file.
func (t symbolTree) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	symbol := ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 2 && (words[0] == "config" || words[0] == "menuconfig"):
			symbol = "CONFIG_" + words[1]
			t.conditions[symbol] = append(t.conditions[symbol], "")
		case len(words) > 2 && words[0] == "depends" && words[1] == "on":
			t.conditions[symbol] = append(t.conditions[symbol], strings.Join(words, " "))
		case len(words) > 0 && words[0] == "endmenu":
			symbol = ""
		}
	}
	return lines.Err()
}

// defined says whether the kernel has a symbol.
func (t symbolTree) defined(symbol string) bool { return len(t.conditions[symbol]) > 0 }

// unmet gives the conditions of a symbol that is not as it was wanted.
func (t symbolTree) unmet(symbol, _ string, _ []byte) string {
	var all []string
	for _, c := range t.conditions[symbol] {
		if c != "" {
			all = append(all, c)
		}
	}
	return strings.Join(all, "; ")
}
