package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
)

// blobs is the content-addressed part of an OCI image layout (image-spec
// v1.1.1, image-layout.md, "Blobs"). It is oras-go's content.Storage.
//
// oras-go's own content/oci.Storage is not used for writing because it renames
// a blob into place without fsync: after a power failure a blob of the right
// name may be empty, which is just what a store must not have. It also has no
// resumable ingest, and refuses to replace a damaged blob.
type blobs struct {
	dir string

	mu       sync.Mutex
	verified map[digest.Digest]stamp // what this process verified
}

var _ content.Storage = (*blobs)(nil)

func newBlobs(dir string) *blobs {
	return &blobs{dir: dir, verified: map[digest.Digest]stamp{}}
}

func (b *blobs) path(d digest.Digest) (string, error) {
	if !digestPattern.MatchString(d.String()) {
		return "", fmt.Errorf("%w: %q is not a sha256 or sha512 digest", ErrInvalid, clip(d.String()))
	}
	return filepath.Join(b.dir, "blobs", d.Algorithm().String(), d.Encoded()), nil
}

func (b *blobs) ingestDir() string { return filepath.Join(b.dir, "ingest") }

// Exists reports whether a blob is there with the size its descriptor says.
func (b *blobs) Exists(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	path, err := b.path(desc.Digest)
	if err != nil {
		return false, err
	}
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return fi.Mode().IsRegular() && fi.Size() == desc.Size, nil
}

// has reports whether a blob is there at all, be it whole or damaged.
func (b *blobs) has(d digest.Digest) bool {
	path, err := b.path(d)
	if err != nil {
		return false
	}
	_, err = os.Lstat(path)
	return err == nil
}

// Fetch opens a blob. Its content is verified while it is read: the last Read
// returns a *DigestError instead of io.EOF when it is not what it should be.
// The caller closes it.
func (b *blobs) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	path, err := b.path(desc.Digest)
	if err != nil {
		return nil, err
	}
	f, err := openRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w: %w", desc.Digest, ErrIncomplete, errdef.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return &verifyReader{ctx: ctx, r: f, digester: desc.Digest.Algorithm().Digester(), desc: desc, where: b.dir}, nil
}

// openRegular refuses symbolic links, devices and pipes that somebody put where
// a blob should be.
func openRegular(path string) (*os.File, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrCorrupt, path)
	}
	return os.Open(path)
}

// readAll reads a small blob (manifest, index, config) and verifies it.
func (b *blobs) readAll(ctx context.Context, desc ocispec.Descriptor, limit int64) ([]byte, error) {
	if desc.Size < 0 || desc.Size > limit {
		return nil, fmt.Errorf("blob %s: %w: %d bytes is out of range 0..%d", desc.Digest, ErrInvalid, desc.Size, limit)
	}
	rc, err := b.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

// Push stores content under its descriptor, atomically. It replaces what is
// there, which mends a damaged blob; concurrent pushes of the same blob are safe.
func (b *blobs) Push(ctx context.Context, expected ocispec.Descriptor, r io.Reader) error {
	if _, err := b.path(expected.Digest); err != nil {
		return err
	}
	_, err := b.ingest(ctx, expected.Digest.Algorithm(), r, func(got ocispec.Descriptor) error {
		if got.Digest != expected.Digest || got.Size != expected.Size {
			return &DigestError{Blob: expected.Digest, Where: "its writer", Got: fmt.Sprintf("%s, %d bytes", got.Digest, got.Size)}
		}
		return nil
	})
	return err
}

// add stores content whose digest is not known beforehand.
func (b *blobs) add(ctx context.Context, r io.Reader, mediaType string) (ocispec.Descriptor, error) {
	desc, err := b.ingest(ctx, digest.Canonical, r, nil)
	desc.MediaType = mediaType
	return desc, err
}

// ingest writes to a temporary file, checks, makes it durable and renames it.
func (b *blobs) ingest(ctx context.Context, alg digest.Algorithm, r io.Reader, check func(ocispec.Descriptor) error) (desc ocispec.Descriptor, err error) {
	f, err := os.CreateTemp(b.ingestDir(), "tmp-*")
	if err != nil {
		return desc, storeError(b.dir, "create a temporary blob", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	digester := alg.Digester()
	n, err := io.Copy(io.MultiWriter(f, digester.Hash()), &ctxReader{ctx, r})
	if err != nil {
		return desc, storeError(b.dir, "write a blob", err)
	}
	desc = ocispec.Descriptor{Digest: digester.Digest(), Size: n}
	if check != nil {
		if err := check(desc); err != nil {
			return desc, err
		}
	}
	return desc, b.commit(f, desc)
}

// commit moves a wholly written and verified temporary file to its place. The
// order is what makes a crash harmless: the bytes are on disk before the name is.
func (b *blobs) commit(f *os.File, desc ocispec.Descriptor) error {
	path, err := b.path(desc.Digest)
	if err != nil {
		return err
	}
	doing := "store blob " + desc.Digest.String()
	if err := f.Chmod(0o444); err != nil {
		return storeError(b.dir, doing, err)
	}
	if err := f.Sync(); err != nil {
		return storeError(b.dir, doing, err)
	}
	if err := f.Close(); err != nil {
		return storeError(b.dir, doing, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return storeError(b.dir, doing, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return storeError(b.dir, doing, err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return storeError(b.dir, doing, err)
	}
	b.remember(desc, path)
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// ctxReader stops a copy when its context is done.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// verifyReader checks size and digest of what passes through it.
type verifyReader struct {
	ctx      context.Context
	r        io.ReadCloser
	digester digest.Digester
	desc     ocispec.Descriptor
	where    string
	n        int64
}

func (v *verifyReader) Read(p []byte) (int, error) {
	if err := context.Cause(v.ctx); err != nil {
		return 0, err
	}
	n, err := v.r.Read(p)
	v.n += int64(n)
	v.digester.Hash().Write(p[:n])
	if v.n > v.desc.Size {
		return n, v.mismatch(fmt.Sprintf("more than %d bytes", v.desc.Size))
	}
	if err == io.EOF {
		if v.n != v.desc.Size {
			return n, v.mismatch(fmt.Sprintf("%d bytes of %d", v.n, v.desc.Size))
		}
		if got := v.digester.Digest(); got != v.desc.Digest {
			return n, v.mismatch(got.String())
		}
	}
	return n, err
}

func (v *verifyReader) mismatch(got string) error {
	return &DigestError{Blob: v.desc.Digest, Where: "store " + v.where, Got: got, Fix: mendBlob}
}

// mendBlob is what to do about a damaged blob in the store.
const mendBlob = "pull or build the image again, which replaces it"

func (v *verifyReader) Close() error { return v.r.Close() }
