// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// stallLimit is how long a server may send nothing before it counts as dead.
	stallLimit = time.Minute
	// maxResumes bounds how often a connection that broke is taken up again in a
	// row without a byte gained.
	maxResumes = 3
)

// errRestart says that a partial file is of no use with this server.
var errRestart = errors.New("the kept part of the file does not fit what the server has")

// newClient is an HTTP client that takes its proxies from the environment and
// gives up on a server that does not answer.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		ForceAttemptHTTP2:     true,
		// A tarball's digest is that of the bytes on the server.
		DisableCompression: true,
	}}
}

// get downloads a URL to the file part, going on from what part holds, until it
// has the digest. What was got stays in part when get fails, unless it is wrong.
func (c *Cache) get(ctx context.Context, url, part, digest string, p Progress) error {
	resumed := true
	for idle := 0; ; {
		before := fileSize(part)
		if before == 0 {
			resumed = false
		}
		err := c.getRest(ctx, url, part, before, p)
		if err == nil {
			err = c.checkPart(ctx, url, part, digest, p)
			if err == nil {
				return nil
			}
			if rmErr := os.Remove(part); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
				return rmErr
			}
			var se *SourceError
			if resumed && errors.As(err, &se) && se.Kind == SourceMismatch {
				resumed = false // the part may have been another server's
				continue
			}
			return err
		}
		if errors.Is(err, errRestart) && before > 0 {
			if c.checkPart(ctx, url, part, digest, p) == nil {
				return nil // a kbuild died between the last byte and the rename
			}
			if err := os.Remove(part); err != nil {
				return err
			}
			continue
		}
		if idle++; fileSize(part) > before {
			idle = 0
		}
		var broke *brokenError
		if ctx.Err() != nil || !errors.As(err, &broke) || idle >= maxResumes {
			return err
		}
	}
}

// brokenError is a connection that ended before the file did.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "the connection broke: " + e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// getRest makes one request for what follows the first have bytes (RFC 9110
// section 14) and appends it to part.
func (c *Cache) getRest(ctx context.Context, url, part string, have int64, p Progress) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "runv-legacy-kbuild")
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return plainHTTP(err)
	}
	defer resp.Body.Close()
	start, err := startOf(resp, have)
	if err != nil {
		return err
	}
	total := int64(0)
	if resp.ContentLength >= 0 {
		total = start + resp.ContentLength
	}
	if total > maxSource {
		return fmt.Errorf("the server announces %d bytes, more than the %d that a source may have", total, int64(maxSource))
	}
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = errors.Join(f.Truncate(start), seekTo(f, start))
	if err == nil {
		err = receive(ctx, f, resp.Body, newMeter(p, StageFetch, total, url), cancel)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// startOf says where in the file a response's body begins.
func startOf(resp *http.Response, have int64) (int64, error) {
	switch {
	case resp.StatusCode == http.StatusOK:
		return 0, nil // the server does not do ranges, or was not asked
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && have > 0:
		return 0, errRestart
	case resp.StatusCode == http.StatusPartialContent && have > 0:
		r := resp.Header.Get("Content-Range")
		from, _, _ := strings.Cut(strings.TrimPrefix(r, "bytes "), "-")
		if n, err := strconv.ParseInt(from, 10, 64); err != nil || n != have {
			return 0, errRestart
		}
		return have, nil
	}
	return 0, fmt.Errorf("the server answered %s", resp.Status)
}

// receive appends a body to f, and gives up when nothing comes for stallLimit.
func receive(ctx context.Context, f *os.File, body io.Reader, m *meter, cancel context.CancelCauseFunc) error {
	stall := time.AfterFunc(stallLimit, func() {
		cancel(fmt.Errorf("the server sent nothing for %v", stallLimit))
	})
	defer stall.Stop()
	got, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	m.add(got)
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		stall.Reset(stallLimit)
		if got += int64(n); got > maxSource {
			return fmt.Errorf("the server sends more than the %d bytes that a source may have", int64(maxSource))
		}
		if _, werr := f.Write(buf[:n]); werr != nil {
			return werr
		}
		m.add(int64(n))
		switch {
		case err == io.EOF:
			m.finish()
			return nil
		case err != nil && ctx.Err() != nil:
			return &brokenError{context.Cause(ctx)}
		case err != nil:
			return &brokenError{err}
		}
	}
}

// checkPart compares what was got with the pinned digest.
func (c *Cache) checkPart(ctx context.Context, url, part, digest string, p Progress) error {
	f, err := os.Open(part)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := sha256.New()
	m := newMeter(p, StageVerify, info.Size(), url)
	if _, err := io.Copy(io.MultiWriter(h, meterWriter{m}), &contextReader{ctx, f}); err != nil {
		return err
	}
	m.finish()
	if got := hex.EncodeToString(h.Sum(nil)); got != digest {
		return mismatch(url, got, digest, "the server's file is another one or was tampered with; it was thrown away")
	}
	return nil
}

// meterWriter counts what is written to it.
type meterWriter struct{ m *meter }

func (w meterWriter) Write(b []byte) (int, error) {
	w.m.add(int64(len(b)))
	return len(b), nil
}

func seekTo(f *os.File, n int64) error {
	_, err := f.Seek(n, io.SeekStart)
	return err
}

// fileSize is 0 for a file that is not there.
func fileSize(path string) int64 {
	if info, err := os.Stat(path); err == nil {
		return info.Size()
	}
	return 0
}

// plainHTTP takes the method and the URL, which the caller names, off a client's
// error.
func plainHTTP(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
