package initrd

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// Write writes entries as one newc cpio archive, the same bytes for the same
// entries in any order: they are sorted, their inode numbers are their
// positions, and owner, group and time are zero.
//
// Folders that are not listed but needed are added with mode 0755: do_name of
// init/initramfs.c ignores the failure to create a file whose parent does not
// exist, so that a missing parent would lose the file without a word.
func Write(w io.Writer, entries []Entry) error {
	sorted, err := arrange(entries)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	cw := cpio.NewWriter(&buf)
	for i, e := range sorted {
		if err := writeEntry(cw, &buf, e, int64(i+1)); err != nil {
			return fmt.Errorf("pack %s: %w", e.Name, err)
		}
		if _, err := buf.WriteTo(w); err != nil {
			return fmt.Errorf("write initrd archive: %w", err)
		}
	}
	// The trailer must be there: without it unpack_to_rootfs ends a
	// compressed archive with "junk in compressed archive".
	if err := cw.Close(); err != nil {
		return fmt.Errorf("end initrd archive: %w", err)
	}
	if _, err := buf.WriteTo(w); err != nil {
		return fmt.Errorf("write initrd archive: %w", err)
	}
	return nil
}

// arrange validates and sorts entries by name, which also puts each folder
// before what is in it: a parent's name is a prefix of its children's.
func arrange(entries []Entry) ([]Entry, error) {
	byName := make(map[string]Entry, len(entries))
	for _, e := range entries {
		if err := e.Validate(); err != nil {
			return nil, err
		}
		if _, twice := byName[e.Name]; twice {
			return nil, fmt.Errorf("%w %q: listed twice", ErrEntry, e.Name)
		}
		byName[e.Name] = e
	}
	sorted := slices.Clone(entries)
	for _, e := range entries {
		for dir := path.Dir(e.Name); dir != "."; dir = path.Dir(dir) {
			parent, known := byName[dir]
			if !known {
				parent = Dir(dir, 0o755)
				byName[dir] = parent
				sorted = append(sorted, parent)
			}
			if parent.Type() != TypeDir {
				return nil, fmt.Errorf("%w %q: %q above it is not a folder", ErrEntry, e.Name, dir)
			}
		}
	}
	slices.SortFunc(sorted, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return sorted, nil
}

// rdevOffset is where c_rdevmajor stands in a newc header, after the magic and
// nine fields of eight digits.
const rdevOffset = 6 + 9*8

func writeEntry(cw *cpio.Writer, buf *bytes.Buffer, e Entry, inode int64) error {
	// The kernel takes a link count of two or more for a hard link (maybe_link
	// of init/initramfs.c); every entry here is a file of its own.
	h := &cpio.Header{Name: e.Name, Mode: cpio.FileMode(e.Mode), Inode: inode, Links: 1}
	body := e.Data
	if e.Type() == TypeSymlink {
		body = []byte(e.Link)
	}
	h.Size = int64(len(body))
	// Flush pads the entry before, so that the header starts where the
	// buffer now ends.
	if err := cw.Flush(); err != nil {
		return err
	}
	start := buf.Len()
	if err := cw.WriteHeader(h); err != nil {
		return err
	}
	if e.Major != 0 || e.Minor != 0 {
		// cpio.Header (v1.0.1) has no device number and its writer leaves
		// the fields zero; /dev/console would become device 0:0.
		copy(buf.Bytes()[start+rdevOffset:], fmt.Sprintf("%08X%08X", e.Major, e.Minor))
	}
	if len(body) == 0 {
		return nil
	}
	_, err := cw.Write(body)
	return err
}
