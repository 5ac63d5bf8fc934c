package backports

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

// maxTreeFile bounds a file that a patch changes; the largest source file of a
// kernel is below it.
const maxTreeFile = 64 << 20

// Apply applies the patches to the kernel tree in dir, one after the other. It
// is strict: every context line must match at the very line the hunk names.
//
// Each patch is all or nothing: the new contents of all its files are computed
// first and written to temporary files, then put in place by renames; a fault
// undoes what was put in place. On error the patches before the failed one stay
// applied; the error is an *ApplyError. Apply is not idempotent: a patch that
// is already applied fails.
func Apply(dir string, patches []Patch) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open kernel tree: %w", err)
	}
	defer root.Close()
	for _, p := range patches {
		if err := applyPatch(root, p); err != nil {
			var located *ApplyError
			if errors.As(err, &located) {
				return err
			}
			return &ApplyError{Patch: p.ID, Err: err}
		}
	}
	return nil
}

func applyPatch(root *os.Root, p Patch) error {
	if p.SHA256 != "" {
		if sum := sha256.Sum256(p.Data); hex.EncodeToString(sum[:]) != p.SHA256 {
			return fmt.Errorf("the patch's data has sha256 %x, not %s as recorded", sum, p.SHA256)
		}
	}
	files, err := parsePatch(p.Data)
	if err != nil {
		return err
	}
	var changes []change
	for _, f := range files {
		c, err := computeChange(root, f)
		if err != nil {
			return locate(p.ID, f, err)
		}
		changes = append(changes, c...)
	}
	return commit(root, changes)
}

// locate adds patch, file, hunk and line to an error of one file.
func locate(id string, f *gitdiff.File, err error) error {
	e := &ApplyError{Patch: id, File: targetName(f), Err: err}
	var at *gitdiff.ApplyError
	if errors.As(err, &at) {
		e.Hunk, e.Line = at.Fragment, int(at.Line)
		if e.Line == 0 && e.Hunk > 0 && e.Hunk <= len(f.TextFragments) {
			e.Line = int(f.TextFragments[e.Hunk-1].OldPosition)
		}
	}
	return e
}

func targetName(f *gitdiff.File) string {
	if f.NewName != "" {
		return f.NewName
	}
	return f.OldName
}

// parsePatch parses a patch in git format and refuses what this engine does
// not apply: binary data, symbolic links, submodules, paths outside the tree,
// and the same file twice.
func parsePatch(data []byte) ([]*gitdiff.File, error) {
	files, _, err := gitdiff.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("parse patch: %w", err)
	}
	if len(files) == 0 {
		return nil, errors.New("the patch changes no file")
	}
	seen := map[string]bool{}
	for _, f := range files {
		if err := checkFile(f); err != nil {
			return nil, fmt.Errorf("%s: %w", targetName(f), err)
		}
		names := []string{f.OldName}
		if f.NewName != f.OldName {
			names = append(names, f.NewName)
		}
		for _, name := range names {
			if name == "" {
				continue
			}
			if seen[name] {
				return nil, fmt.Errorf("%s: the patch changes this file twice", name)
			}
			seen[name] = true
		}
	}
	return files, nil
}

func checkFile(f *gitdiff.File) error {
	for _, name := range []string{f.OldName, f.NewName} {
		if name == "" {
			continue
		}
		if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\x00\\") {
			return fmt.Errorf("%q: %w", name, ErrUnsafePath)
		}
	}
	if f.OldName == "" && f.NewName == "" {
		return errors.New("a diff without a file name")
	}
	if f.IsBinary || f.BinaryFragment != nil {
		return errors.New("binary patches are not supported")
	}
	if f.IsCopy {
		return errors.New("copies are not supported; write the patch without -C")
	}
	// gitdiff keeps git's octal modes as they are (0100644, 0120000).
	for _, mode := range []os.FileMode{f.OldMode, f.NewMode} {
		switch mode {
		case 0, 0o100644, 0o100755:
		default:
			return fmt.Errorf("mode %o: only regular files (100644, 100755) are supported", mode)
		}
	}
	last := int64(0)
	for i, h := range f.TextFragments {
		if err := h.Validate(); err != nil {
			return fmt.Errorf("hunk %d: %w", i+1, err)
		}
		if h.OldPosition < last {
			return fmt.Errorf("hunk %d is out of order", i+1)
		}
		last = h.OldPosition
	}
	return nil
}

// change is one file of the tree as it will be: nil data means deleted.
type change struct {
	name    string
	data    []byte
	mode    os.FileMode
	created bool // the file must not exist before
}

// computeChange reads the file from the tree and returns what becomes of it.
func computeChange(root *os.Root, f *gitdiff.File) ([]change, error) {
	var old []byte
	mode := os.FileMode(0o644)
	if !f.IsNew {
		var err error
		if old, mode, err = readTreeFile(root, f.OldName); err != nil {
			return nil, err
		}
	}
	if f.IsNew || f.IsRename {
		if err := checkAbsent(root, f.NewName); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	if err := gitdiff.Apply(&out, bytes.NewReader(old), f); err != nil {
		return nil, err
	}
	if f.IsDelete {
		if out.Len() > 0 {
			return nil, errors.New("the file has more in it than the patch deletes")
		}
		return []change{{name: f.OldName}}, nil
	}
	switch f.NewMode {
	case 0o100644:
		mode &^= 0o111
	case 0o100755:
		mode |= 0o111
	}
	changes := []change{{name: f.NewName, data: out.Bytes(), mode: mode, created: f.IsNew || f.IsRename}}
	if changes[0].data == nil {
		changes[0].data = []byte{}
	}
	if f.IsRename {
		changes = append(changes, change{name: f.OldName})
	}
	return changes, nil
}

func readTreeFile(root *os.Root, name string) ([]byte, os.FileMode, error) {
	if err := checkNoSymlink(root, name); err != nil {
		return nil, 0, err
	}
	info, err := root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("is not a regular file in the tree")
	}
	if info.Size() > maxTreeFile {
		return nil, 0, fmt.Errorf("has %d bytes, more than the limit of %d", info.Size(), maxTreeFile)
	}
	data, err := root.ReadFile(name)
	return data, info.Mode().Perm(), err
}

func checkAbsent(root *os.Root, name string) error {
	if err := checkNoSymlink(root, name); err != nil {
		return err
	}
	switch _, err := root.Lstat(name); {
	case err == nil:
		return errors.New("already exists, but the patch creates it")
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}

// checkNoSymlink refuses a path with a symbolic link in it. os.Root already
// keeps links from leaving the tree; a link that stays inside would make the
// patch change another file than the one it names.
func checkNoSymlink(root *os.Root, name string) error {
	for end := 0; end < len(name); end++ {
		if next := strings.IndexByte(name[end:], '/'); next >= 0 {
			end += next
		} else {
			end = len(name)
		}
		info, err := root.Lstat(name[:end])
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%s is a symbolic link in the tree: %w", name[:end], ErrUnsafePath)
		}
	}
	return nil
}
