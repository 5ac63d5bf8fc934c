package guestbuild

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// recipe is raised when the way of compiling or packing changes, so that what
// an older recipe made is not taken for the present one's.
const recipe = "2"

// SourcesDigest names everything that the target's output depends on: its
// sources, the toolchain and the recipe.
func (t Target) SourcesDigest(root string) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "recipe %s\ntoolchain %s\ntarget %s\nlink%s\ncompile %s\n", recipe, Toolchain, t.Name, t.LinkFlags, t.CompileFlags)
	dir := filepath.Join(root, t.Dir)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return t.enter(dir, path)
		}
		if !d.Type().IsRegular() || !isSource(d.Name()) {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(data, []byte("\x7fELF")) {
			return nil // a binary that somebody built in place
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %x\n", filepath.ToSlash(rel), sha256.Sum256(data))
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read the sources of %s: %w", t.Name, err)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

// enter skips folders that the go command does not compile: hidden ones,
// testdata and nested modules.
func (t Target) enter(top, dir string) error {
	if dir == top {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		return err
	}
	name := filepath.Base(dir)
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func isSource(name string) bool {
	return !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, "_test.go") &&
		!strings.HasSuffix(name, ".md") && !strings.HasSuffix(name, ".test")
}
