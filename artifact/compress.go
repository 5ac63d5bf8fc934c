package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// opener is a file's content that can be had as a stream.
type opener interface {
	IsZero() bool
	open() (io.ReadCloser, error)
}

var _ opener = FileRef{}

// Magic numbers: ELF specification; RFC 1952 section 2.3.1; RFC 8878 section 3.1.1.
const (
	magicELF  = "\x7fELF"
	magicGzip = "\x1f\x8b"
	magicZstd = "\x28\xb5\x2f\xfd"
)

func (f FileRef) magic() ([]byte, error) {
	r, err := f.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	buf := make([]byte, 4)
	n, err := io.ReadFull(r, buf)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return buf[:n], err
}

// debugLayer decides how a vmlinux is stored.
func debugLayer(f FileRef) (mediaType, title string, file opener, err error) {
	if f.IsZero() {
		return MediaTypeDebug, TitleDebug, f, nil
	}
	magic, err := f.magic()
	if err != nil {
		return "", "", nil, fmt.Errorf("add %s: %w", TitleDebug, err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte(magicELF)):
		return MediaTypeDebug, TitleDebug, gzipped{f}, nil
	case bytes.HasPrefix(magic, []byte(magicGzip)):
		return MediaTypeDebug, TitleDebug, f, nil
	case bytes.HasPrefix(magic, []byte(magicZstd)):
		return MediaTypeDebugZstd, TitleDebugZstd, f, nil
	}
	return "", "", nil, fmt.Errorf("add %s: the debug kernel is neither ELF nor gzip nor zstd (it begins with % x)", TitleDebug, magic)
}

func checkModules(f FileRef) error {
	if f.IsZero() {
		return nil
	}
	magic, err := f.magic()
	if err != nil {
		return fmt.Errorf("add %s: %w", TitleModules, err)
	}
	if !bytes.HasPrefix(magic, []byte(magicGzip)) {
		return fmt.Errorf("add %s: the modules are not gzip'd (they begin with % x)", TitleModules, magic)
	}
	return nil
}

// gzipped compresses a file while it is read. The compressor is pinned in go.mod
// and the header has neither name nor time, so the same file gives the same bytes
// whichever Go built this program.
type gzipped struct{ FileRef }

func (g gzipped) open() (io.ReadCloser, error) {
	in, err := g.FileRef.open()
	if err != nil {
		return nil, err
	}
	pr, pw := io.Pipe()
	go func() {
		defer in.Close()
		zw, err := gzip.NewWriterLevel(pw, gzip.DefaultCompression)
		if err == nil {
			_, err = io.Copy(zw, in)
			if cerr := zw.Close(); err == nil {
				err = cerr
			}
		}
		pw.CloseWithError(err)
	}()
	return pr, nil
}
