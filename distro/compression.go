package distro

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"
	"github.com/xi2/xz"
)

// maxWindow bounds what a compressed stream may make its reader allocate.
// "xz -9" and rpm's w7.xzdio need 64 MiB, "zstd -19" 8 MiB, --ultra -22 128.
const maxWindow = 128 << 20

// decompress finds the compression by the stream's first bytes; a stream that
// has none of the known ones passes as it is.
func decompress(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		zr, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("%w: gzip: %w", ErrFormat, err)
		}
		return zr, nil
	case bytes.HasPrefix(head, []byte("BZh")):
		return io.NopCloser(bzip2.NewReader(br)), nil
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		// ulikunitz/xz (v0.5.17) takes any dictionary size a header names.
		zr, err := xz.NewReader(br, maxWindow)
		if err != nil {
			return nil, fmt.Errorf("%w: xz: %w", ErrFormat, err)
		}
		return io.NopCloser(zr), nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		zr, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("%w: zstd: %w", ErrFormat, err)
		}
		return zr.IOReadCloser(), nil
	// lzma-alone has no magic; this is its usual lc=3 lp=0 pb=2 with a
	// dictionary of a whole number of 64 KiB, as file(1) finds it too.
	case bytes.HasPrefix(head, []byte{0x5d, 0, 0}):
		zr, err := lzma.ReaderConfig{DictCap: maxWindow}.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("%w: lzma: %w", ErrFormat, err)
		}
		return io.NopCloser(zr), nil
	}
	return io.NopCloser(br), nil
}

// readAll decompresses a whole file of at most limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	zr, err := decompress(r)
	if err != nil {
		return nil, err
	}
	defer zr.Close()
	data, err := io.ReadAll(io.LimitReader(zr, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrLimit, limit)
	}
	return data, nil
}
