package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Store is a local store of guest images: an OCI image layout (image-spec
// v1.1.1, image-layout.md) that several processes use at once. Its methods are
// safe for concurrent use.
type Store struct {
	dir      string
	blobs    *blobs
	platform ocispec.Platform
	now      func() time.Time
}

// Option changes how a store is used.
type Option func(*Store)

// WithPlatform makes references to an index pick another platform than linux/amd64.
func WithPlatform(p ocispec.Platform) Option {
	return func(s *Store) { s.platform = p }
}

// OpenStore opens the store in dir. A folder that is absent or empty is an empty
// store; it is made by the first call that writes.
func OpenStore(dir string, opts ...Option) (*Store, error) {
	if dir == "" {
		return nil, errors.New("open store: no folder is given")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	if err := checkLayout(abs); err != nil {
		return nil, err
	}
	s := &Store{dir: abs, blobs: newBlobs(abs), platform: DefaultPlatform(), now: time.Now}
	for _, o := range opts {
		o(s)
	}
	return s, nil
}

// Dir returns the store's folder.
func (s *Store) Dir() string { return s.dir }

// CheckWritable makes the store where it is missing and reports whether this
// process can add to it, so that a long build can fail at its start. The error
// wraps ErrReadOnly or ErrNoSpace.
func (s *Store) CheckWritable(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.blobs.ingestDir(), "tmp-*")
	if err != nil {
		return storeError(s.dir, "write to store", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, 4096))
	return storeError(s.dir, "write to store", errors.Join(err, f.Close()))
}

// Hold keeps GC, also of other processes, from removing anything until release
// is called. It is for readers that go from a reference to open files in steps.
func (s *Store) Hold(ctx context.Context) (release func(), err error) {
	return s.lock(ctx, lockUse, false)
}

// use prepares the store for writing and holds it.
func (s *Store) use(ctx context.Context) (release func(), err error) {
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	return s.Hold(ctx)
}

// manifest reads and checks a manifest blob.
func (s *Store) manifest(ctx context.Context, desc ocispec.Descriptor) (Manifest, error) {
	data, err := s.blobs.readAll(ctx, desc, maxManifestSize)
	if err != nil {
		return Manifest{}, fmt.Errorf("read manifest: %w", err)
	}
	m, err := ParseManifest(data)
	if err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return m, nil
}

func (s *Store) index(ctx context.Context, desc ocispec.Descriptor) (Index, error) {
	data, err := s.blobs.readAll(ctx, desc, maxManifestSize)
	if err != nil {
		return Index{}, fmt.Errorf("read index: %w", err)
	}
	x, err := ParseIndex(data)
	if err != nil {
		return Index{}, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return x, nil
}

// guest reads the config of a manifest that must be a guest image's.
func (s *Store) guest(ctx context.Context, desc ocispec.Descriptor) (Manifest, Guest, error) {
	m, err := s.manifest(ctx, desc)
	if err != nil {
		return m, Guest{}, err
	}
	if !m.IsGuest() {
		return m, Guest{}, fmt.Errorf("%s: %w: its type is %s, want %s", desc.Digest, ErrNotGuest, m.Type(), ArtifactType)
	}
	data, err := s.blobs.readAll(ctx, m.Config, maxConfigSize)
	if err != nil {
		return m, Guest{}, fmt.Errorf("read config of %s: %w", desc.Digest, err)
	}
	g, err := ParseGuest(data)
	if err != nil {
		return m, Guest{}, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return m, g, nil
}

// platformMatches ignores os.version, which is the kernel's version here and not
// something to choose by.
func platformMatches(want ocispec.Platform, have *ocispec.Platform) bool {
	return have != nil && have.OS == want.OS && have.Architecture == want.Architecture &&
		(want.Variant == "" || want.Variant == have.Variant)
}
