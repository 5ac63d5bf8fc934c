package backports

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/google/renameio/v2"
)

// commit puts the changes of one patch in place. All new contents are on disk
// in temporary files before the first rename, so that a full disk changes
// nothing; should a rename or a removal fail, what was done is undone.
func commit(root *os.Root, changes []change) (err error) {
	tx := &transaction{root: root}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.rollback())
		}
	}()
	staged := make([]*stagedFile, len(changes))
	defer func() {
		for _, s := range staged {
			if s != nil {
				s.discard()
			}
		}
	}()
	for i, c := range changes {
		if c.data == nil {
			continue
		}
		if err := tx.makeDirs(path.Dir(c.name)); err != nil {
			return err
		}
		if staged[i], err = stage(root, c.name, c.data, c.mode); err != nil {
			return err
		}
	}
	for i, c := range changes {
		if err := tx.put(c, staged[i]); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// stagedFile is a finished temporary file beside its target.
type stagedFile struct {
	dir  *os.Root
	file *renameio.PendingFile
}

// stage writes data to a temporary file in the target's own folder, which is
// opened as a root so that the rename cannot cross a mount or a link.
func stage(root *os.Root, name string, data []byte, mode os.FileMode) (*stagedFile, error) {
	dir, err := root.OpenRoot(path.Dir(name))
	if err != nil {
		return nil, err
	}
	file, err := renameio.NewPendingFile(path.Base(name), renameio.WithRoot(dir), renameio.WithStaticPermissions(mode))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create temporary file for %s: %w", name, err), dir.Close())
	}
	s := &stagedFile{dir: dir, file: file}
	if _, err := file.Write(data); err != nil {
		s.discard()
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	if err := file.Sync(); err != nil {
		s.discard()
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return s, nil
}

// discard removes the temporary file, if it is still there, and closes the folder.
func (s *stagedFile) discard() {
	_ = s.file.Cleanup()
	_ = s.dir.Close()
}

// transaction remembers how to undo what one patch has done so far.
type transaction struct {
	root *os.Root
	undo []func() error
}

// makeDirs creates the missing folders of dir.
func (t *transaction) makeDirs(dir string) error {
	if dir == "." {
		return nil
	}
	switch _, err := t.root.Lstat(dir); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := t.makeDirs(path.Dir(dir)); err != nil {
		return err
	}
	if err := t.root.Mkdir(dir, 0o755); err != nil {
		return err
	}
	t.undo = append(t.undo, func() error { return t.root.Remove(dir) })
	return nil
}

// put replaces, creates or deletes one file.
func (t *transaction) put(c change, s *stagedFile) error {
	if !c.created {
		old, mode, err := readTreeFile(t.root, c.name)
		if err != nil {
			return err
		}
		t.undo = append(t.undo, func() error { return restore(t.root, c.name, old, mode) })
	} else {
		t.undo = append(t.undo, func() error {
			if err := t.root.Remove(c.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		})
	}
	if s == nil {
		return t.root.Remove(c.name)
	}
	return s.file.CloseAtomicallyReplace()
}

func restore(root *os.Root, name string, data []byte, mode os.FileMode) error {
	s, err := stage(root, name, data, mode)
	if err != nil {
		return err
	}
	defer s.discard()
	return s.file.CloseAtomicallyReplace()
}

// rollback undoes in reverse order; it goes on after a fault so as to undo as
// much as can be undone.
func (t *transaction) rollback() error {
	var errs []error
	for i := len(t.undo) - 1; i >= 0; i-- {
		if err := t.undo[i](); err != nil {
			errs = append(errs, fmt.Errorf("undo: %w", err))
		}
	}
	return errors.Join(errs...)
}
