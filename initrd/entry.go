package initrd

import (
	"fmt"
	"path"
	"strings"
)

// File types as a cpio header stores them, equal to S_IFMT of
// include/linux/stat.h.
const (
	TypeMask    = 0o170000
	TypeSocket  = 0o140000
	TypeSymlink = 0o120000
	TypeFile    = 0o100000
	TypeBlock   = 0o060000
	TypeDir     = 0o040000
	TypeChar    = 0o020000
	TypeFifo    = 0o010000

	permMask = 0o7777
)

const (
	// maxName is one less than PATH_MAX (include/linux/limits.h): the
	// header's name size counts the closing NUL, and do_header of
	// init/initramfs.c skips an entry, without a word, whose name size
	// exceeds PATH_MAX.
	maxName = 4095

	// maxLink is the longest symlink target: do_header skips a longer one.
	maxLink = 4095

	// maxFile is what the eight hexadecimal digits of the size field hold.
	maxFile = 1<<32 - 1

	trailerName = "TRAILER!!!"
)

// Entry is one file of an archive. Owner and group are always 0 and the
// modification time is the epoch: an initrd has no other user, and both would
// make its bytes depend on who built it and when.
type Entry struct {
	// Name is the path below the root, without a leading slash.
	Name string

	// Mode is file type and permissions, as in struct stat.
	Mode uint32

	// Data is a file's content.
	Data []byte

	// Link is a symlink's target.
	Link string

	// Major and Minor number a device.
	Major, Minor uint32
}

// File is a regular file.
func File(name string, perm uint32, data []byte) Entry {
	return Entry{Name: name, Mode: TypeFile | perm&permMask, Data: data}
}

// Dir is a folder.
func Dir(name string, perm uint32) Entry {
	return Entry{Name: name, Mode: TypeDir | perm&permMask}
}

// Symlink is a symbolic link to target. Its permissions are 0777, as the
// kernel shows every symlink's.
func Symlink(name, target string) Entry {
	return Entry{Name: name, Mode: TypeSymlink | 0o777, Link: target}
}

// CharDevice is a character device node.
func CharDevice(name string, perm, major, minor uint32) Entry {
	return Entry{Name: name, Mode: TypeChar | perm&permMask, Major: major, Minor: minor}
}

// BlockDevice is a block device node.
func BlockDevice(name string, perm, major, minor uint32) Entry {
	return Entry{Name: name, Mode: TypeBlock | perm&permMask, Major: major, Minor: minor}
}

// Type is the entry's file type, one of the Type constants.
func (e Entry) Type() uint32 { return e.Mode & TypeMask }

// Perm is the entry's permissions with setuid, setgid and sticky bits.
func (e Entry) Perm() uint32 { return e.Mode & permMask }

// Validate says why an entry cannot be stored so that every supported kernel
// unpacks it as meant. Its error wraps [ErrEntry].
func (e Entry) Validate() error {
	if msg := nameProblem(e.Name); msg != "" {
		return fmt.Errorf("%w %.80q: %s", ErrEntry, e.Name, msg)
	}
	if msg := e.contentProblem(); msg != "" {
		return fmt.Errorf("%w %.80q: %s", ErrEntry, e.Name, msg)
	}
	return nil
}

func (e Entry) contentProblem() string {
	t := e.Type()
	switch {
	case e.Mode&^(TypeMask|permMask) != 0:
		return fmt.Sprintf("mode %#o has bits beyond type and permissions", e.Mode)
	case t != TypeFile && len(e.Data) > 0:
		return "only a regular file has data"
	case t != TypeSymlink && e.Link != "":
		return "only a symlink has a target"
	case t != TypeChar && t != TypeBlock && (e.Major != 0 || e.Minor != 0):
		return "only a device has a device number"
	}
	switch t {
	case TypeFile:
		if int64(len(e.Data)) > maxFile {
			return "a newc archive cannot hold a file of 4 GiB or more"
		}
	case TypeSymlink:
		return linkProblem(e.Link)
	case TypeChar, TypeBlock:
		// new_encode_dev of include/linux/kdev_t.h keeps 12 and 20 bits.
		if e.Major > 0xfff || e.Minor > 0xfffff {
			return fmt.Sprintf("device number %d:%d is out of range (4095:1048575)", e.Major, e.Minor)
		}
	case TypeDir, TypeFifo, TypeSocket:
	default:
		return fmt.Sprintf("mode %#o has no known file type", e.Mode)
	}
	return ""
}

func linkProblem(target string) string {
	switch {
	case target == "":
		return "a symlink needs a target"
	case len(target) > maxLink:
		return fmt.Sprintf("the symlink's target is longer than %d bytes", maxLink)
	case strings.IndexByte(target, 0) >= 0:
		return "the symlink's target has a NUL byte"
	}
	return ""
}

// nameProblem is strict: a name must be the one clean relative path of its
// file. The kernel would follow "..", and would let two spellings of one path
// overwrite each other.
func nameProblem(name string) string {
	switch {
	case name == "":
		return "the name is empty"
	case len(name) > maxName:
		return fmt.Sprintf("the name is longer than %d bytes", maxName)
	case name == trailerName:
		return "this name ends an archive"
	case strings.IndexByte(name, 0) >= 0:
		return "the name has a NUL byte"
	case name[0] == '/':
		return "the name is absolute; write it without the leading slash"
	case name == "." || name == ".." || strings.HasPrefix(name, "../"):
		return "the name leaves the archive"
	case path.Clean(name) != name:
		return fmt.Sprintf("the name is not clean; write %.80q", path.Clean(name))
	}
	return ""
}
