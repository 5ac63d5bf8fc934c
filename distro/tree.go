package distro

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

const (
	// maxFile is the size of the largest file: a System.map is under 10 MiB,
	// a compressed kernel under 20, the largest Debian module (amdgpu) 15.
	maxFile = 512 << 20
	// maxPackage is that of all together: Debian's amd64 kernel unpacks to
	// 400 MiB, with debug symbols in its modules ten times that.
	maxPackage = 8 << 30
	// maxFiles is far over the 4000 modules of a distribution's kernel.
	maxFiles = 100_000
)

// tree is the folder that a package is unpacked to: boot/... and
// lib/modules/..., whatever else it has is left out.
type tree struct {
	root  *os.Root
	files int
	size  int64
}

// add writes one file, if it is wanted. Its name cannot leave the tree:
// os.Root refuses that, and no link is ever made in it.
func (t *tree) add(name string, size int64, data io.Reader) error {
	name, wanted := wantedName(name)
	if !wanted {
		return nil
	}
	if t.files++; t.files > maxFiles {
		return fmt.Errorf("%w: more than %d files", ErrLimit, maxFiles)
	}
	if size < 0 || size > maxFile {
		return fmt.Errorf("%w: %s has %d bytes", ErrLimit, name, size)
	}
	if t.size += size; t.size > maxPackage {
		return fmt.Errorf("%w: more than %d bytes in all", ErrLimit, int64(maxPackage))
	}
	if err := t.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	// O_EXCL: a second file of one name is no kernel package's.
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	if _, err := io.CopyN(f, data, size); err != nil {
		f.Close()
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	return nil
}

// wantedName cleans a package's file name and says whether it is of a kernel.
// A merged-/usr package has its modules below usr/lib.
func wantedName(name string) (string, bool) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	name = strings.TrimPrefix(name, "usr/")
	if !fs.ValidPath(name) {
		return "", false
	}
	return name, strings.HasPrefix(name, "boot/") || strings.HasPrefix(name, "lib/modules/")
}
