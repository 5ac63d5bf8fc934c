package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

// readFile reads a part of a file. Files of /proc have no size, so reading
// goes on until the limit or the end.
func readFile(p protocol.ReadFile) (any, error) {
	limit := p.Limit
	switch {
	case limit == 0:
		limit = protocol.MaxFile
	case limit < 0 || limit > protocol.MaxFile:
		return nil, callError(protocol.CodeTooLarge, "limit: %d is not within 1 and %d", limit, protocol.MaxFile)
	}
	if !filepath.IsAbs(p.Path) {
		return nil, callError(protocol.CodeInvalid, "path: %q is not absolute", p.Path)
	}
	st, err := os.Stat(p.Path)
	if err != nil {
		return nil, errnoError(err, "read")
	}
	if !st.Mode().IsRegular() {
		return nil, callError(protocol.CodeInvalid, "path: %s is no regular file", p.Path)
	}
	f, err := os.Open(p.Path)
	if err != nil {
		return nil, errnoError(err, "read")
	}
	defer f.Close()
	if p.Offset != 0 {
		if _, err := f.Seek(p.Offset, io.SeekStart); err != nil {
			return nil, errnoError(err, "read")
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, errnoError(err, "read")
	}
	if len(b) > limit {
		return protocol.FileData{Data: b[:limit], More: true}, nil
	}
	return protocol.FileData{Data: b}, nil
}

func writeFile(p protocol.WriteFile) error {
	if len(p.Data) > protocol.MaxFile {
		return callError(protocol.CodeTooLarge, "data: %d bytes, over %d; append the rest by further calls", len(p.Data), protocol.MaxFile)
	}
	if !filepath.IsAbs(p.Path) {
		return callError(protocol.CodeInvalid, "path: %q is not absolute", p.Path)
	}
	if p.Mkdir {
		if err := os.MkdirAll(filepath.Dir(p.Path), 0o755); err != nil {
			return errnoError(err, "write")
		}
	}
	mode := os.FileMode(p.Mode & 0o777)
	if mode == 0 {
		mode = 0o644
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if p.Append {
		flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	f, err := os.OpenFile(p.Path, flags, mode)
	if err != nil {
		return errnoError(err, "write")
	}
	_, err = f.Write(p.Data)
	if err = errors.Join(err, f.Close()); err != nil {
		return errnoError(err, "write")
	}
	return nil
}
