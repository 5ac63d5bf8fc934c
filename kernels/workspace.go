// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"

	"github.com/runv-legacy/runv-legacy/backports"
)

// maxTrees is how many work trees are kept. One takes 0.5 GiB (2.6.32) to 2 GiB
// (6.1); the least recently used go first.
const maxTrees = 4

// The files of a work tree's folder.
const (
	treeSource = "linux"      // the source, and make's outcome in it
	treeShims  = "shims"      // see shimScripts
	treeState  = "state.json" // treeRecord
)

// The states of a work tree.
const (
	// treeClean is a tree in which the last make, if any, ended well.
	treeClean = "clean"
	// treeDirty is a tree in which make runs or did not end well. No build goes
	// on from it: a rule that writes its target by `> $@` leaves, when it fails
	// or is killed, a part of a file that is newer than what it is made from
	// (2.6.32 has no .DELETE_ON_ERROR), and make would take it for whole. GNU
	// make removes such targets when it is stopped by SIGINT, but not a rule's
	// other outputs, so that an interrupted tree counts as dirty as well.
	treeDirty = "dirty"
)

// treeRecord is a work tree's state.json.
type treeRecord struct {
	State string `json:"state"`
	// Config is the .config of the last make that ended well.
	Config string `json:"config,omitempty"`
}

// workTree is a patched source tree, locked by its user.
type workTree struct {
	dir string // below the cache's trees folder
	treeRecord
}

func (w *workTree) src() string   { return filepath.Join(w.dir, treeSource) }
func (w *workTree) shims() string { return filepath.Join(w.dir, treeShims) }

// path joins elem below the source.
func (w *workTree) path(elem ...string) string {
	return filepath.Join(append([]string{w.src()}, elem...)...)
}

// mark records the tree's state. It must be on disk before make starts.
func (w *workTree) mark(state string) error {
	w.State = state
	b, err := json.Marshal(w.treeRecord)
	if err == nil {
		err = renameio.WriteFile(filepath.Join(w.dir, treeState), b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("mark work tree %s %s: %w", w.dir, state, err)
	}
	return nil
}

// openTree gives the work tree called key, the old one if it is clean and else a
// new one. The caller holds treeLock(key).
func (c *Cache) openTree(ctx context.Context, r Recipe, key string, p Progress) (*workTree, error) {
	w := &workTree{dir: c.path(treesDir, key)}
	if strings.ContainsAny(w.dir, " \t:#$%'\"") {
		return nil, fmt.Errorf("cache folder %s: make cannot build in a folder with a space or one of :#$%%'\" in its name; use another cache folder", c.dir)
	}
	b, err := os.ReadFile(filepath.Join(w.dir, treeState))
	if err == nil && json.Unmarshal(b, &w.treeRecord) == nil && w.State == treeClean {
		if _, err := os.Stat(w.path("Makefile")); err == nil {
			return w, nil
		}
	}
	if err := c.discardTree(key); err != nil {
		return nil, err
	}
	if err := c.pruneTrees(maxTrees - 1); err != nil {
		return nil, err
	}
	return c.makeTree(ctx, r, key, p)
}

// makeTree unpacks and patches below the cache's tmp folder, so that a tree is
// whole when it has its name.
func (c *Cache) makeTree(ctx context.Context, r Recipe, key string, p Progress) (*workTree, error) {
	tmp, done, err := c.TempDir("tree")
	if err != nil {
		return nil, err
	}
	defer done()
	w := &workTree{dir: filepath.Join(tmp, key)}
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make work tree: %w", err)
	}
	touched, err := patchedFiles(r.Patches)
	if err != nil {
		return nil, err
	}
	if err := c.Unpack(ctx, r.Source, w.src(), p, touched...); err != nil {
		return nil, err
	}
	if err := applyPatches(ctx, w.src(), r.Patches, p); err != nil {
		return nil, err
	}
	if err := writeShims(w.shims()); err != nil {
		return nil, err
	}
	if err := w.mark(treeClean); err != nil {
		return nil, err
	}
	home := c.path(treesDir, key)
	if err := os.Rename(w.dir, home); err != nil {
		return nil, fmt.Errorf("put work tree into place: %w", err)
	}
	w.dir = home
	return w, nil
}

// patchedFiles names the files that patches change. Unpack leaves out files that
// no build reads, but a patch is applied whole or not at all.
func patchedFiles(patches []backports.Patch) ([]string, error) {
	var names []string
	for _, p := range patches {
		files, _, err := gitdiff.Parse(bytes.NewReader(p.Data))
		if err != nil {
			return nil, fmt.Errorf("read patch %s: %w", p.ID, err)
		}
		for _, f := range files {
			if !f.IsNew {
				names = append(names, f.OldName)
			}
		}
	}
	return names, nil
}

// applyPatches applies the recipe's patches one at a time.
func applyPatches(ctx context.Context, dir string, patches []backports.Patch, p Progress) error {
	if len(patches) == 0 {
		return nil
	}
	e := Event{Stage: StagePatch, State: Started, Total: int64(len(patches)), Unit: UnitPatches}
	p.report(e)
	for i, patch := range patches {
		if ctx.Err() != nil {
			return fmt.Errorf("apply %s: %w", patch.ID, context.Cause(ctx))
		}
		if err := backports.Apply(dir, []backports.Patch{patch}); err != nil {
			return err
		}
		e.State, e.Done, e.Detail = Advanced, int64(i+1), patch.ID
		p.report(e)
	}
	e.State, e.Detail = Finished, ""
	p.report(e)
	return nil
}

// treeLock is the name of a work tree's lock.
func treeLock(key string) string { return "tree-" + key }

// discardTree removes a work tree. It is renamed first: what a make that has lost
// its kbuild still writes goes with it.
func (c *Cache) discardTree(key string) error {
	dir := c.path(treesDir, key)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	tmp, done, err := c.TempDir("discard")
	if err != nil {
		return err
	}
	defer done()
	if err := os.Rename(dir, filepath.Join(tmp, key)); err != nil {
		return fmt.Errorf("remove work tree: %w", err)
	}
	return nil
}

// pruneTrees removes the least recently used work trees that nobody uses until
// keep are left.
func (c *Cache) pruneTrees(keep int) error {
	type used struct {
		key string
		at  time.Time
	}
	entries, err := os.ReadDir(c.path(treesDir))
	if err != nil {
		return fmt.Errorf("prune work trees: %w", err)
	}
	var trees []used
	for _, e := range entries {
		t := used{key: e.Name()}
		if info, err := os.Stat(c.path(treesDir, t.key, treeState)); err == nil {
			t.at = info.ModTime()
		}
		trees = append(trees, t)
	}
	slices.SortFunc(trees, func(a, b used) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.key, b.key)) })
	for _, t := range trees[min(keep, len(trees)):] {
		l := flock.New(c.path(locksDir, lockFile(treeLock(t.key))))
		if ok, err := l.TryLock(); err != nil || !ok {
			continue // in use: it goes another time
		}
		err := c.discardTree(t.key)
		_ = l.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
