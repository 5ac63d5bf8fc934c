package artifact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// download brings one blob into the store. What arrived before a break stays in
// the ingest folder under the blob's digest and is continued, by this call or by
// a later one, with a Range request (distribution-spec v1.1.1, "Pulling blobs").
// Several processes that want the same blob take turns; the later ones find it.
func (s *Store) download(ctx context.Context, p *peer, desc ocispec.Descriptor) error {
	if s.present(ctx, desc) {
		p.rep.send(EventSkipped, desc, desc.Size, nil)
		return nil
	}
	base := filepath.Join(s.blobs.ingestDir(), strings.Replace(desc.Digest.String(), ":", "-", 1))
	lock := flock.New(base+partLockSuffix, flock.SetPermissions(0o644))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return storeError(s.dir, "lock blob "+desc.Digest.String(), err)
	}
	defer lock.Close()
	if s.present(ctx, desc) {
		p.rep.send(EventSkipped, desc, desc.Size, nil)
		return nil
	}
	f, err := os.OpenFile(base+partSuffix, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return storeError(s.dir, "store blob "+desc.Digest.String(), err)
	}
	part := &partial{f: f, desc: desc, dir: s.dir}
	defer f.Close()
	if err := part.resume(ctx); err != nil {
		return err
	}
	if err := p.fill(ctx, part); err != nil {
		return err
	}
	if err := s.blobs.commit(f, desc); err != nil {
		return err
	}
	p.rep.send(EventDone, desc, desc.Size, nil)
	return nil
}

// present reports whether a blob is there and whole; a damaged one is fetched again.
func (s *Store) present(ctx context.Context, desc ocispec.Descriptor) bool {
	if there, err := s.blobs.Exists(ctx, desc); err != nil || !there {
		return false
	}
	_, err := s.blobs.ensure(ctx, desc)
	return err == nil
}

// partial is a blob that is being downloaded.
type partial struct {
	f        *os.File
	dir      string
	desc     ocispec.Descriptor
	digester digest.Digester
	n        int64
	resumed  bool // some bytes are from an earlier process
}

// resume hashes what an earlier download left.
func (p *partial) resume(ctx context.Context) error {
	p.digester = p.desc.Digest.Algorithm().Digester()
	n, err := io.Copy(p.digester.Hash(), &ctxReader{ctx, p.f})
	if err != nil {
		return fmt.Errorf("continue blob %s: %w", p.desc.Digest, err)
	}
	p.n, p.resumed = n, n > 0
	if n > p.desc.Size {
		return p.restart()
	}
	return nil
}

func (p *partial) restart() error {
	p.digester, p.n, p.resumed = p.desc.Digest.Algorithm().Digester(), 0, false
	if err := p.f.Truncate(0); err != nil {
		return storeError(p.dir, "store blob "+p.desc.Digest.String(), err)
	}
	_, err := p.f.Seek(0, io.SeekStart)
	return err
}

// errStore marks a failed write, to tell it from a failed read.
type storeWriteError struct{ err error }

func (e storeWriteError) Error() string { return e.err.Error() }
func (e storeWriteError) Unwrap() error { return e.err }

func (p *partial) Write(b []byte) (int, error) {
	n, err := p.f.Write(b)
	p.digester.Hash().Write(b[:n])
	p.n += int64(n)
	if err != nil {
		err = storeWriteError{storeError(p.dir, "store blob "+p.desc.Digest.String(), err)}
	}
	return n, err
}

// fill requests until the blob is whole and verified. An attempt that brought
// something does not count as failed.
func (p *peer) fill(ctx context.Context, part *partial) error {
	p.rep.send(EventStart, part.desc, part.n, nil)
	for attempt := 0; ; {
		before := part.n
		err := p.request(ctx, part)
		if err == nil {
			err = p.check(part)
			if err == nil {
				return nil
			}
			if !part.resumed {
				os.Remove(part.f.Name())
				return err
			}
			// What an earlier process left may have been damaged: once from the start.
			if err := part.restart(); err != nil {
				return err
			}
			p.rep.send(EventRetry, part.desc, 0, err)
			continue
		}
		if errors.As(err, new(storeWriteError)) || context.Cause(ctx) != nil || !transient(err) {
			return err
		}
		if part.n > before {
			attempt = 0
		}
		if attempt >= p.opts.retries() {
			return err
		}
		p.rep.send(EventRetry, part.desc, part.n, err)
		if err := p.pause(ctx, attempt); err != nil {
			return err
		}
		attempt++
	}
}

func (p *peer) check(part *partial) error {
	if got := part.digester.Digest(); got != part.desc.Digest {
		return p.wrongBytes(part.desc, got.String())
	}
	return nil
}

func (p *peer) wrongBytes(desc ocispec.Descriptor, got string) error {
	return &DigestError{
		Blob: desc.Digest, Where: "registry " + p.repo.Reference.Registry + "/" + p.repo.Reference.Repository, Got: got,
		Fix: "nothing was added to the store; the registry's copy is damaged, push it again",
	}
}

// request gets what is missing of a blob, once.
func (p *peer) request(ctx context.Context, part *partial) error {
	if part.n == part.desc.Size {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := cmp.Or(p.opts.Stall, time.Minute)
	watchdog := time.AfterFunc(limit, func() { cancel(errStalled) })
	defer watchdog.Stop()

	resp, err := p.get(ctx, part.desc, part.n)
	if err != nil {
		return cmpStall(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && part.n > 0 { // the registry knows no ranges
		if err := part.restart(); err != nil {
			return storeWriteError{err}
		}
	}
	body := &meter{r: io.LimitReader(resp.Body, part.desc.Size-part.n+1), report: func() {
		watchdog.Reset(limit)
		p.rep.send(EventBytes, part.desc, part.n, nil)
	}}
	_, err = io.Copy(part, body)
	switch {
	case err != nil:
		return cmpStall(ctx, err)
	case part.n > part.desc.Size:
		return errors.Join(p.wrongBytes(part.desc, fmt.Sprintf("more than its %d bytes", part.desc.Size)), part.restart())
	case part.n < part.desc.Size:
		return fmt.Errorf("blob %s ended after %d of %d bytes: %w", part.desc.Digest, part.n, part.desc.Size, io.ErrUnexpectedEOF)
	}
	return nil
}

// cmpStall gives the watchdog's reason in place of "context canceled".
func cmpStall(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

func (p *peer) get(ctx context.Context, desc ocispec.Descriptor, offset int64) (*http.Response, error) {
	ref := p.repo.Reference
	scheme := "https"
	if p.repo.PlainHTTP {
		scheme = "http"
	}
	url := fmt.Sprintf("%s://%s/v2/%s/blobs/%s", scheme, ref.Host(), ref.Repository, desc.Digest)
	req, err := http.NewRequestWithContext(auth.AppendRepositoryScope(ctx, ref, auth.ActionPull), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, desc.Size-1))
	}
	resp, err := p.repo.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusPartialContent && offset > 0 &&
		strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)) {
		return resp, nil
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	resp.Body.Close()
	return nil, &errcode.ErrorResponse{Method: req.Method, URL: req.URL, StatusCode: resp.StatusCode}
}

// meter calls report after each read that brought something was written.
type meter struct {
	r      io.Reader
	report func()
}

func (m *meter) Read(b []byte) (int, error) {
	m.report()
	return m.r.Read(b)
}
