package distro

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
)

// arMember is one member of an ar archive, in the common format (ar(5)).
type arMember struct {
	Name string
	Size int64
}

// unpackDeb puts what keep wants of a Debian package's data archive into the
// tree. The format is deb(5): an ar archive of debian-binary, control.tar and
// data.tar, the latter two compressed.
//
// Reading it is our own: pault.ag/go/debian v0.19.0 loops for ever on a member
// of negative size, which ar's decimal fields can hold.
func unpackDeb(ctx context.Context, r io.Reader, out *tree) error {
	ar, err := newArReader(r)
	if err != nil {
		return err
	}
	for {
		m, data, err := ar.next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: the Debian package has no data.tar", ErrFormat)
		}
		if err != nil {
			return err
		}
		if !strings.HasPrefix(m.Name, "data.tar") {
			continue
		}
		zr, err := decompress(data)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		defer zr.Close()
		if err := unpackTar(ctx, zr, out); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		return ar.skip()
	}
}

type arReader struct {
	r    io.Reader
	data *io.LimitedReader // of the present member
	pad  int64
}

func newArReader(r io.Reader) (*arReader, error) {
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != arMagic {
		return nil, fmt.Errorf("%w: no Debian package (no ar archive)", ErrFormat)
	}
	return &arReader{r: r}, nil
}

// next goes to the next member. io.EOF is the archive's regular end.
func (a *arReader) next() (arMember, io.Reader, error) {
	if a.data != nil {
		if err := a.skip(); err != nil {
			return arMember{}, nil, err
		}
	}
	head := make([]byte, arHeaderSize)
	n, err := io.ReadFull(a.r, head)
	if n == 0 && errors.Is(err, io.EOF) {
		return arMember{}, nil, io.EOF
	}
	if err != nil {
		return arMember{}, nil, fmt.Errorf("%w: the ar archive ends inside a header", ErrFormat)
	}
	m, err := parseArHeader(head)
	if err != nil {
		return arMember{}, nil, err
	}
	a.data = &io.LimitedReader{R: a.r, N: m.Size}
	a.pad = m.Size % 2
	return m, a.data, nil
}

// skip reads the present member to its end, which must be there.
func (a *arReader) skip() error {
	if _, err := io.Copy(io.Discard, a.data); err != nil {
		return fmt.Errorf("read ar archive: %w", err)
	}
	if a.data.N > 0 {
		return fmt.Errorf("%w: the ar archive ends inside a member", ErrFormat)
	}
	if _, err := io.CopyN(io.Discard, a.r, a.pad); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read ar archive: %w", err)
	}
	return nil
}

func parseArHeader(head []byte) (arMember, error) {
	if string(head[58:60]) != "`\n" {
		return arMember{}, fmt.Errorf("%w: an ar header does not end with \"`\\n\"", ErrFormat)
	}
	name := strings.TrimSuffix(strings.TrimRight(string(head[:16]), " "), "/")
	size, err := strconv.ParseUint(strings.TrimRight(string(head[48:58]), " "), 10, 63)
	if err != nil {
		return arMember{}, fmt.Errorf("%w: ar member %q has the size %q", ErrFormat, name, head[48:58])
	}
	return arMember{Name: name, Size: int64(size)}, nil
}

func unpackTar(ctx context.Context, r io.Reader, out *tree) error {
	tr := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if h.Typeflag != tar.TypeReg {
			continue // links to headers and sources; folders are made as needed
		}
		if err := out.add(h.Name, h.Size, tr); err != nil {
			return err
		}
	}
}
