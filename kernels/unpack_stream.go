// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// compressions are the ways a tarball may be compressed. Files are told apart by
// their first bytes, never by name. program, when it is installed, is faster
// than the Go code beside it: xz uses all processors (5.4 and later), and both
// are C.
var compressions = []struct {
	name    string
	ext     string
	magic   string
	program []string
	open    func(io.Reader) (io.Reader, error)
}{
	{"xz", ".xz", "\xfd7zXZ\x00", []string{"xz", "-dc", "-T0"},
		func(r io.Reader) (io.Reader, error) { return xz.NewReader(r) }},
	{"gzip", ".gz", "\x1f\x8b", nil,
		func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"bzip2", ".bz2", "BZh", []string{"bzip2", "-dc"},
		func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{"zstd", ".zst", "\x28\xb5\x2f\xfd", nil,
		func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r, zstd.WithDecoderMaxMemory(1<<30)) }},
}

// tarStream is the tar in a file, decompressed if need be.
type tarStream struct {
	io.Reader
	// Compression is empty for an uncompressed tar, whose Reader can then seek.
	Compression string

	file  *os.File
	cmd   *exec.Cmd
	errs  bytes.Buffer
	stop  context.CancelFunc
	ended bool
}

// openTar opens the tarball at path. A file of an unknown kind is a *SourceError.
func openTar(ctx context.Context, path string) (*tarStream, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t := &tarStream{file: f, stop: func() {}}
	if err := t.start(ctx, path); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// start finds out what the file is and begins to decompress it.
func (t *tarStream) start(ctx context.Context, path string) error {
	head := make([]byte, 512)
	n, err := io.ReadFull(t.file, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	head = head[:n]
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for _, c := range compressions {
		if !strings.HasPrefix(string(head), c.magic) {
			continue
		}
		t.Compression = c.name
		if len(c.program) > 0 {
			if err := t.pipe(ctx, c.program); !errors.Is(err, exec.ErrNotFound) {
				return err
			}
		}
		t.Reader, err = c.open(bufio.NewReaderSize(&contextReader{ctx, t.file}, 1<<20))
		if err != nil {
			return streamError(path, err)
		}
		return nil
	}
	// The first 512 bytes are a header ("ustar" at 257, pax(1)). Older formats
	// have no magic; archive/tar goes by the checksum.
	if _, err := tar.NewReader(bytes.NewReader(append(head, make([]byte, 1024)...))).Next(); n < 512 || err != nil && !bytes.HasPrefix(head[257:], []byte("ustar")) {
		return &SourceError{Kind: SourceUnsupported, Path: path, Msg: "is not a tarball", Fix: "give a folder or a .tar, .tar.xz, .tar.gz, .tar.bz2 or .tar.zst file"}
	}
	t.Reader = t.file
	return nil
}

// pipe decompresses through a program.
func (t *tarStream) pipe(ctx context.Context, program []string) error {
	ctx, t.stop = context.WithCancel(ctx)
	t.cmd = exec.CommandContext(ctx, program[0], program[1:]...)
	t.cmd.Stdin = t.file
	t.cmd.Stderr = &t.errs
	out, err := t.cmd.StdoutPipe()
	if err == nil {
		err = t.cmd.Start()
	}
	if err != nil {
		t.cmd = nil
		return err
	}
	t.Reader = &pipeReader{bufio.NewReaderSize(out, 1<<20), t, program[0]}
	return nil
}

// pipeReader turns the end of a program's output into the program's verdict: an
// end of file if it was pleased, else its complaint.
type pipeReader struct {
	r    io.Reader
	t    *tarStream
	name string
}

func (r *pipeReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if err == nil || n > 0 {
		return n, nil
	}
	if r.t.ended {
		return 0, io.EOF
	}
	r.t.ended = true
	if werr := r.t.cmd.Wait(); werr != nil {
		return 0, fmt.Errorf("%s: %s (%w)", r.name, strings.TrimSpace(r.t.errs.String()), werr)
	}
	return 0, io.EOF
}

// position is how much of the file has been read, by whoever decompresses it: a
// program has the file's descriptor and so shares its offset.
func (t *tarStream) position() int64 {
	n, err := t.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0
	}
	return n
}

// Close ends the stream, wherever it is.
func (t *tarStream) Close() error {
	t.stop()
	if t.cmd != nil && !t.ended {
		_ = t.cmd.Wait() // killed
	}
	if c, ok := t.Reader.(*zstd.Decoder); ok {
		c.Close()
	}
	return t.file.Close()
}

// streamError says what an error of reading a tarball means.
func streamError(path string, err error) error {
	var se *SourceError
	switch {
	case err == nil, errors.As(err, &se), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "nexpected end of"):
		// "Unexpected end of input" is xz's message; bzip2 has "file ends unexpectedly".
		return truncated(path, err)
	case strings.Contains(err.Error(), "ends unexpectedly"):
		return truncated(path, err)
	}
	return &SourceError{Kind: SourceCorrupt, Path: path, Err: err, Msg: "is damaged", Fix: "get it again"}
}

func truncated(path string, err error) error {
	return &SourceError{Kind: SourceTruncated, Path: path, Err: err, Msg: "is truncated: it ends in the middle", Fix: "get it again"}
}
