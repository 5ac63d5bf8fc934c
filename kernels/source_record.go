// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"crypto/md5" //nolint:gosec // dpkg records MD5 and nothing else
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// recordsDir holds one file for each source that was ever digested.
const recordsDir = "records"

// settled is how old a file's last change must be for its digest to be
// remembered: a write in the same tick of the filesystem's clock leaves the
// stamp as it was. The clock ticks at least every 10 ms (CONFIG_HZ=100); old
// filesystems keep whole seconds (ext3) or two (FAT).
const settled = 2 * time.Second

// record remembers the digests of a file or folder for as long as its stamp is
// the same.
type record struct {
	Path    string `json:"path"`
	Stamp   string `json:"stamp"`
	SHA256  string `json:"sha256"`
	MD5     string `json:"md5,omitempty"`
	Version string `json:"version,omitempty"`
}

// stampOf is what a file looks like from outside. Change time and inode catch a
// file whose contents were replaced and whose mtime was set back.
func stampOf(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
	}
	return fmt.Sprintf("%d %d %d %d %d", st.Size, st.Mtim.Nano(), st.Ctim.Nano(), st.Ino, st.Dev)
}

// changedAt is when a file was last changed in any way.
func changedAt(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Sec, st.Ctim.Nsec)
	}
	return info.ModTime()
}

// loadRecord gives the record of path, empty if there is none or if it is not of
// this stamp.
func (c *Cache) loadRecord(path, stamp string) record {
	fresh := record{Path: path, Stamp: stamp}
	b, err := os.ReadFile(c.recordPath(path))
	if err != nil {
		return fresh
	}
	var r record
	if json.Unmarshal(b, &r) != nil || r.Path != path || r.Stamp != stamp {
		return fresh
	}
	return r
}

// saveRecord remembers r.
func (c *Cache) saveRecord(r record) error {
	if err := writeJSON(c.recordPath(r.Path), r); err != nil {
		return fmt.Errorf("remember the digest of %s: %w", r.Path, err)
	}
	return nil
}

func (c *Cache) recordPath(path string) string {
	sum := sha256.Sum256([]byte(path))
	return c.path(sourcesDir, recordsDir, hex.EncodeToString(sum[:16])+".json")
}

// digestFile gives the SHA-256 and MD5 of a file and its stamp, from the records
// if the file is as it was.
func (c *Cache) digestFile(ctx context.Context, path string, p Progress) (record, error) {
	f, err := os.Open(path)
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return record{}, err
	}
	if !before.Mode().IsRegular() {
		return record{}, &SourceError{Kind: SourceUnsupported, Path: path, Msg: "is not a regular file", Fix: "give a kernel tree or a tarball of one"}
	}
	r := c.loadRecord(path, stampOf(before))
	if r.SHA256 != "" && r.MD5 != "" {
		return r, nil
	}
	r.SHA256, r.MD5, err = digestReader(ctx, f, before.Size(), path, p)
	if err != nil {
		return record{}, fmt.Errorf("digest %s: %w", path, err)
	}
	after, err := os.Stat(path)
	if err != nil {
		return record{}, err
	}
	if stampOf(after) != r.Stamp {
		return record{}, changed(path)
	}
	return r, c.saveSettled(r, after)
}

// saveSettled remembers r unless its file changed so recently that a change to
// come might not show.
func (c *Cache) saveSettled(r record, info fs.FileInfo) error {
	if !c.owns(r.Path) && c.now().Sub(changedAt(info)) < settled {
		return nil
	}
	return c.saveRecord(r)
}

// owns says whether path is in the cache, whose files only kbuild writes, whole
// and once.
func (c *Cache) owns(path string) bool {
	return strings.HasPrefix(path, c.dir+string(filepath.Separator))
}

// digestReader gives the SHA-256 and the MD5 of what r holds. The two are
// computed side by side: a tarball of 2.6.32 takes 1.2 s alone and 1.2 s so.
func digestReader(ctx context.Context, r io.Reader, size int64, name string, p Progress) (sha, md string, err error) {
	hashes := [2]hash.Hash{sha256.New(), md5.New()} //nolint:gosec
	var feeds [2]chan []byte
	var done [2]chan struct{}
	for i, h := range hashes {
		feeds[i], done[i] = make(chan []byte), make(chan struct{})
		go func() {
			defer close(done[i])
			for b := range feeds[i] {
				h.Write(b)
			}
		}()
	}
	// Two buffers: a feed is unbuffered, so that when the second buffer has been
	// taken by both hashes, both are done with the first.
	meter := newMeter(p, StageVerify, size, name)
	var bufs [2][1 << 20]byte
	for n := 0; err == nil; n++ {
		var got int
		got, err = io.ReadFull(&contextReader{ctx, r}, bufs[n%2][:])
		for _, f := range feeds {
			f <- bufs[n%2][:got]
		}
		meter.add(int64(got))
	}
	for i := range feeds {
		close(feeds[i])
		<-done[i]
	}
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", "", err
	}
	meter.finish()
	return hex.EncodeToString(hashes[0].Sum(nil)), hex.EncodeToString(hashes[1].Sum(nil)), nil
}

// changed is the error of a source that did not keep still.
func changed(path string) error {
	return &SourceError{Kind: SourceChanged, Path: path, Msg: "changed while it was being read", Fix: "leave it alone and run this again"}
}

// writeJSON writes v to a file whole or not at all.
func writeJSON(path string, v any) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(b, '\n'), 0o644)
}

// contextReader is a reader that stops when its context is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(b)
}

// meter reports the bytes of a stage, at most some 200 times.
type meter struct {
	p           Progress
	event       Event
	step, shown int64
}

// newMeter starts stage. A size of 0 is not known.
func newMeter(p Progress, stage string, size int64, detail string) *meter {
	m := &meter{p: p, event: Event{Stage: stage, Total: size, Unit: UnitBytes, Detail: detail}, step: max(size/200, 1<<20)}
	p.report(m.event)
	m.event.State = Advanced
	return m
}

func (m *meter) add(n int64) {
	m.event.Done += n
	if m.event.Total > 0 {
		m.event.Done = min(m.event.Done, m.event.Total)
	}
	if m.event.Done-m.shown >= m.step {
		m.shown = m.event.Done
		m.p.report(m.event)
	}
}

func (m *meter) finish() {
	m.event.State = Finished
	if m.event.Total > 0 {
		m.event.Done = m.event.Total
	}
	m.p.report(m.event)
}
