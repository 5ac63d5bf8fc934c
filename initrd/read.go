package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
)

// Limits bound what [Read] accepts. A zero field means the default.
type Limits struct {
	// Entries is the highest number of entries, 65536 by default.
	Entries int

	// FileSize is the size of the largest file, 256 MiB by default.
	FileSize int64

	// TotalSize is that of all data together, 512 MiB by default.
	TotalSize int64
}

func (l Limits) withDefaults() Limits {
	if l.Entries <= 0 {
		l.Entries = 1 << 16
	}
	if l.FileSize <= 0 {
		l.FileSize = 256 << 20
	}
	if l.TotalSize <= 0 {
		l.TotalSize = 512 << 20
	}
	return l
}

// Read reads one uncompressed newc archive up to its trailer. The archive may
// be hostile: names are checked as [Entry.Validate] does (a leading "./" or
// "/" is taken off, the root folder itself skipped), nothing is allocated
// before the bytes for it have come, and limits bound the whole.
//
// Hard links are resolved to files that share their data. Owner, group and
// time are dropped.
func Read(r io.Reader, limits Limits) ([]Entry, error) {
	var entries []Entry
	links := map[linkKey]*hardLinks{}
	err := scan(r, limits, func(e Entry, f header) error {
		entries = append(entries, e)
		if e.Type() == TypeFile && f[fieldLinks] > 1 {
			links[f.link()] = links[f.link()].add(len(entries)-1, e.Data)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, group := range links {
		for _, i := range group.positions {
			entries[i].Data = group.data
		}
	}
	return entries, nil
}

// Scan calls visit for each entry of an archive, under the rules of [Read],
// holding one of them in memory at a time. Of a file with several hard links
// only one has data, mostly the last. An error of visit ends the scan.
func Scan(r io.Reader, limits Limits, visit func(Entry) error) error {
	return scan(r, limits, func(e Entry, _ header) error { return visit(e) })
}

// scan is a parser of our own because that of cavaliergopher/cpio v1.0.1 takes
// signed sizes, which makes it panic, and drops device numbers.
func scan(r io.Reader, limits Limits, visit func(Entry, header) error) error {
	rd := reader{r: r, limits: limits.withDefaults(), seen: map[string]bool{}, visit: visit}
	for {
		done, err := rd.next()
		if err != nil {
			return fmt.Errorf("read cpio archive, entry %d: %w", rd.count+1, err)
		}
		if done {
			return nil
		}
	}
}

type linkKey struct{ ino, major, minor uint32 }

// hardLinks is one file of several names. GNU cpio writes the data with the
// last of them, the kernel's gen_init_cpio with the first.
type hardLinks struct {
	positions []int
	data      []byte
}

func (h *hardLinks) add(position int, data []byte) *hardLinks {
	if h == nil {
		h = &hardLinks{}
	}
	h.positions = append(h.positions, position)
	if len(data) > 0 {
		h.data = data
	}
	return h
}

type reader struct {
	r      io.Reader
	limits Limits
	offset int64
	count  int
	total  int64
	seen   map[string]bool
	visit  func(Entry, header) error
}

// The fields of a newc header after the magic, in their order
// (Documentation/early-userspace/buffer-format.txt).
const (
	fieldInode = iota
	fieldMode
	fieldUID
	fieldGID
	fieldLinks
	fieldTime
	fieldSize
	fieldMajor
	fieldMinor
	fieldRMajor
	fieldRMinor
	fieldNameSize
	fieldCheck
	fieldCount
)

const headerSize = 6 + fieldCount*8

type header [fieldCount]uint32

func (h header) link() linkKey { return linkKey{h[fieldInode], h[fieldMajor], h[fieldMinor]} }

func (rd *reader) next() (done bool, err error) {
	head, err := rd.take(headerSize)
	if err != nil {
		return false, err
	}
	f, err := parseHeader(head)
	if err != nil {
		return false, err
	}
	name, err := rd.name(f[fieldNameSize])
	if err != nil {
		return false, err
	}
	if name == trailerName {
		return true, nil
	}
	if rd.count++; rd.count > rd.limits.Entries {
		return false, fmt.Errorf("%w: more than %d entries", ErrLimit, rd.limits.Entries)
	}
	size := int64(f[fieldSize])
	if size > rd.limits.FileSize {
		return false, fmt.Errorf("%w: %.80q has %d bytes, limit %d", ErrLimit, name, size, rd.limits.FileSize)
	}
	if rd.total += size; rd.total > rd.limits.TotalSize {
		return false, fmt.Errorf("%w: more than %d bytes of data", ErrLimit, rd.limits.TotalSize)
	}
	data, err := rd.take(size)
	if err != nil {
		return false, fmt.Errorf("%.80q: %w", name, err)
	}
	if err := rd.align(); err != nil {
		return false, fmt.Errorf("%.80q: %w", name, err)
	}
	return false, rd.add(name, f, data)
}

func parseHeader(head []byte) (f header, err error) {
	// 070702, with checksums, is refused too: 2.6.32 does not know it.
	if string(head[:6]) != "070701" {
		return f, fmt.Errorf("%w: the header starts with %.6q instead of \"070701\"", ErrArchive, head[:6])
	}
	for i := range f {
		digits := head[6+8*i : 14+8*i]
		for _, c := range digits {
			v := hexDigit(c)
			if v < 0 {
				return f, fmt.Errorf("%w: header field %d is %.8q, not eight hexadecimal digits", ErrArchive, i, digits)
			}
			f[i] = f[i]<<4 | uint32(v)
		}
	}
	return f, nil
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func (rd *reader) name(size uint32) (string, error) {
	if size < 2 || size > maxName+1 {
		return "", fmt.Errorf("%w: name size %d is not within 2..%d", ErrArchive, size, maxName+1)
	}
	raw, err := rd.take(int64(size))
	if err != nil {
		return "", fmt.Errorf("name: %w", err)
	}
	if bytes.IndexByte(raw, 0) != len(raw)-1 {
		return "", fmt.Errorf("%w: the name %.80q does not end with its only NUL", ErrArchive, raw)
	}
	return string(raw[:len(raw)-1]), rd.align()
}

// take reads n bytes; its buffer grows as they come, so that a header's claim
// alone allocates nothing.
func (rd *reader) take(n int64) ([]byte, error) {
	var buf bytes.Buffer
	got, err := io.CopyN(&buf, rd.r, n)
	rd.offset += got
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: it ends at byte %d, before its trailer", ErrArchive, rd.offset)
	}
	return buf.Bytes(), err
}

func (rd *reader) align() error {
	pad := (4 - rd.offset%4) % 4
	if pad == 0 {
		return nil
	}
	_, err := rd.take(pad)
	return err
}

func (rd *reader) add(name string, f header, data []byte) error {
	e := Entry{Name: relative(name), Mode: f[fieldMode]}
	if e.Name == "" {
		return nil // the root folder, which "find . | cpio -o" lists
	}
	switch e.Type() {
	case TypeSymlink:
		e.Link = string(data)
	case TypeChar, TypeBlock:
		e.Major, e.Minor = f[fieldRMajor], f[fieldRMinor]
	}
	if e.Type() != TypeSymlink {
		e.Data = data // Validate refuses it where it does not belong
	}
	if err := e.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	if rd.seen[e.Name] {
		return fmt.Errorf("%w: %.80q is there twice", ErrArchive, e.Name)
	}
	rd.seen[e.Name] = true
	return rd.visit(e, f)
}

// relative makes "./a", "/a" and "a/" the name "a", and the root the empty
// name; anything else is left for Validate to judge.
func relative(name string) string {
	if name == "." || name == "/" || name == "./" {
		return ""
	}
	for len(name) > 2 && name[:2] == "./" {
		name = name[2:]
	}
	for len(name) > 1 && name[0] == '/' {
		name = name[1:]
	}
	if len(name) > 1 && name[len(name)-1] == '/' && path.Clean(name) == name[:len(name)-1] {
		name = name[:len(name)-1]
	}
	return name
}
