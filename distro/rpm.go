package distro

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/runv-legacy/runv-legacy/initrd"
)

const (
	rpmLeadSize  = 96
	rpmLeadMagic = 0xedabeedb
	// rpmHeaderMagic is 8e ad e8 and the version 1.
	rpmHeaderMagic = 0x8eade801
	// maxRPMHeader is rpm's own limit of a header's data (256 MiB there, for
	// packages of millions of files), cut to what a kernel's could need.
	maxRPMHeader = 64 << 20
)

// unpackRPM puts what is wanted of an RPM package's payload into the tree. The
// format (rpm's docs/manual/format_v4.md) is a lead, a signature header, a
// header, and a compressed cpio archive. The headers hold nothing we need, and
// the compression shows by itself, so they are skipped.
//
// Skipping is our own: sassoftware/go-rpmutils v0.4.0 panics on a header whose
// entries point outside of it.
func unpackRPM(ctx context.Context, r io.Reader, out *tree) error {
	if err := skipRPMHeaders(r); err != nil {
		return err
	}
	zr, err := decompress(r)
	if err != nil {
		return fmt.Errorf("RPM payload: %w", err)
	}
	defer zr.Close()
	limits := initrd.Limits{FileSize: maxFile, TotalSize: maxPackage}
	err = initrd.Scan(zr, limits, func(e initrd.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		// Of several hard links all but one have no data.
		if e.Type() != initrd.TypeFile || len(e.Data) == 0 {
			return nil
		}
		return out.add(e.Name, int64(len(e.Data)), bytes.NewReader(e.Data))
	})
	if err != nil {
		return fmt.Errorf("%w: RPM payload: %w", ErrFormat, err)
	}
	return nil
}

func skipRPMHeaders(r io.Reader) error {
	var lead [rpmLeadSize]byte
	if _, err := io.ReadFull(r, lead[:]); err != nil || binary.BigEndian.Uint32(lead[:]) != rpmLeadMagic {
		return fmt.Errorf("%w: no RPM package", ErrFormat)
	}
	if binary.BigEndian.Uint16(lead[6:]) != 0 {
		return fmt.Errorf("%w: a source RPM; give the binary package", ErrFormat)
	}
	// The signature header is padded to eight bytes, the other is not.
	if err := skipRPMHeader(r, 8); err != nil {
		return fmt.Errorf("RPM signature: %w", err)
	}
	if err := skipRPMHeader(r, 1); err != nil {
		return fmt.Errorf("RPM header: %w", err)
	}
	return nil
}

func skipRPMHeader(r io.Reader, align int64) error {
	var intro [16]byte
	if _, err := io.ReadFull(r, intro[:]); err != nil {
		return fmt.Errorf("%w: it ends early", ErrFormat)
	}
	if binary.BigEndian.Uint32(intro[:]) != rpmHeaderMagic {
		return fmt.Errorf("%w: no header magic", ErrFormat)
	}
	size := 16*int64(binary.BigEndian.Uint32(intro[8:])) + int64(binary.BigEndian.Uint32(intro[12:]))
	if size > maxRPMHeader {
		return fmt.Errorf("%w: a header of %d bytes", ErrLimit, size)
	}
	size = (size + align - 1) / align * align
	if n, err := io.CopyN(io.Discard, r, size); err != nil {
		return fmt.Errorf("%w: it ends after %d of %d bytes", ErrFormat, n, size)
	}
	return nil
}
