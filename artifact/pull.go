package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry"
)

// parallel transfers at once; more only share the same line.
const parallel = 3

// Pull brings an image from a registry into the store, under its own reference
// or opts.As, and returns the digest of the manifest (of the index, with
// AllPlatforms). Blobs that are there are not transferred, and what a broken
// pull left is continued. Nothing is visible under the name before every blob is
// verified and durable.
//
// The error wraps ErrUnreachable, ErrDenied, ErrNotFound, ErrRegistry,
// ErrPlainHTTP, ErrPlatform, ErrNotGuest, ErrInvalid, ErrNoSpace or ErrReadOnly,
// or is a *DigestError that names blob and registry.
func (s *Store) Pull(ctx context.Context, ref string, opts RemoteOptions, progress Progress) (digest.Digest, error) {
	remoteRef, tag, err := parseRemote(ref)
	if err != nil {
		return "", err
	}
	name, err := localName(remoteRef, tag, opts.As)
	if err != nil {
		return "", err
	}
	release, err := s.use(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	p, err := newPeer(remoteRef, opts, progress)
	if err != nil {
		return "", err
	}
	got, err := s.pull(ctx, p, name)
	return got, p.explain(ctx, "pull "+ref, err)
}

func localName(ref registry.Reference, tag, as string) (string, error) {
	if as != "" {
		return normalTag(as)
	}
	base := ref.Registry + "/" + ref.Repository
	switch {
	case tag != "":
		return base + ":" + tag, nil
	case ref.Reference != "":
		return base + "@" + ref.Reference, nil
	}
	return base + ":latest", nil
}

func (s *Store) pull(ctx context.Context, p *peer, name string) (digest.Digest, error) {
	root, err := p.repo.Resolve(ctx, p.repo.Reference.ReferenceOrDefault())
	if err != nil {
		return "", err
	}
	root = plain(root)
	if root.MediaType != ocispec.MediaTypeImageIndex && root.MediaType != ocispec.MediaTypeImageManifest {
		return "", fmt.Errorf("%w: its media type is %s, want %s", ErrNotGuest, clip(root.MediaType), ocispec.MediaTypeImageIndex)
	}
	data, err := p.document(ctx, root)
	if err != nil {
		return "", err
	}
	manifests := []ocispec.Descriptor{root}
	if root.MediaType == ocispec.MediaTypeImageIndex {
		if manifests, err = s.choose(p, data); err != nil {
			return "", err
		}
	}
	var referrers []ocispec.Descriptor
	for _, m := range manifests {
		more, err := s.pullImage(ctx, p, m)
		if err != nil {
			return "", err
		}
		referrers = append(referrers, more...)
	}
	if err := s.blobs.Push(ctx, root, bytes.NewReader(data)); err != nil {
		return "", err
	}
	err = s.updateIndex(ctx, func(top *Index) error {
		root.ArtifactType = ArtifactType
		s.setTag(top, name, root)
		addUntagged(top, referrers)
		return nil
	})
	if p.opts.AllPlatforms {
		return root.Digest, err
	}
	return manifests[0].Digest, err
}

func (s *Store) choose(p *peer, data []byte) ([]ocispec.Descriptor, error) {
	x, err := ParseIndex(data)
	if err != nil {
		return nil, err
	}
	if p.opts.AllPlatforms {
		if len(x.Manifests) == 0 {
			return nil, invalid("index", "manifests", "no image manifest is in it")
		}
		return x.Manifests, nil
	}
	m, err := pickPlatform(x, s.wanted(p), true)
	return []ocispec.Descriptor{m}, err
}

func (s *Store) wanted(p *peer) ocispec.Platform {
	if p.opts.Platform != nil {
		return *p.opts.Platform
	}
	return s.platform
}

// document gets a manifest, index or config into memory and verifies it.
func (p *peer) document(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Size < 0 || desc.Size > maxManifestSize || !digestPattern.MatchString(desc.Digest.String()) {
		return nil, invalid("manifest", "descriptor", "%s of %d bytes is over the limit of %d", clip(desc.Digest.String()), desc.Size, maxManifestSize)
	}
	for attempt := 0; ; attempt++ {
		data, err := p.fetchDocument(ctx, desc)
		if err == nil || attempt >= p.opts.retries() || ctx.Err() != nil || !transient(err) {
			return data, err
		}
		p.rep.send(EventRetry, desc, 0, err)
		if err := p.pause(ctx, attempt); err != nil {
			return nil, err
		}
	}
}

func (p *peer) fetchDocument(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	rc, err := p.repo.Manifests().Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	data, err := io.ReadAll(io.LimitReader(rc, desc.Size+1))
	if err != nil {
		return nil, err
	}
	if got := desc.Digest.Algorithm().FromBytes(data); got != desc.Digest {
		return nil, p.wrongBytes(desc, got.String())
	}
	return data, nil
}

// pullImage brings one platform's image. The config comes first, so that an image
// for another platform is refused before its kernel is transferred.
func (s *Store) pullImage(ctx context.Context, p *peer, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	data, err := p.document(ctx, desc)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, err
	}
	if !m.IsGuest() {
		return nil, fmt.Errorf("%w: its type is %s, want %s", ErrNotGuest, clip(m.Type()), ArtifactType)
	}
	p.rep.send(EventPlan, ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: totalSize(append([]ocispec.Descriptor{m.Config}, m.Layers...)...)}, 0, nil)
	if err := s.download(ctx, p, m.Config); err != nil {
		return nil, err
	}
	config, err := s.blobs.readAll(ctx, m.Config, maxConfigSize)
	if err != nil {
		return nil, err
	}
	g, err := ParseGuest(config)
	if err != nil {
		return nil, err
	}
	has, want := g.Platform(), s.wanted(p)
	if !p.opts.AllPlatforms && !platformMatches(want, &has) {
		return nil, fmt.Errorf("%w: it is for %s, want %s", ErrPlatform, platformString(&has), platformString(&want))
	}
	if err := s.downloadAll(ctx, p, m.Layers); err != nil {
		return nil, err
	}
	if err := s.blobs.Push(ctx, desc, bytes.NewReader(data)); err != nil {
		return nil, err
	}
	if !p.opts.Referrers {
		return nil, nil
	}
	return s.pullReferrers(ctx, p, desc, 1)
}

func (s *Store) downloadAll(ctx context.Context, p *peer, descs []ocispec.Descriptor) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	seen := map[digest.Digest]bool{}
	for _, d := range descs {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		group.Go(func() error { return s.download(ctx, p, d) })
	}
	return group.Wait()
}

// errEnough ends a listing that a registry makes too long.
var errEnough = errors.New("enough")

// pullReferrers brings what is attached to desc, and what is attached to that.
func (s *Store) pullReferrers(ctx context.Context, p *peer, desc ocispec.Descriptor, depth int) ([]ocispec.Descriptor, error) {
	var listed, out []ocispec.Descriptor
	err := p.repo.Referrers(ctx, desc, "", func(page []ocispec.Descriptor) error {
		listed = append(listed, page...)
		if len(listed) > maxReferrers {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil, invalid("referrers", "manifests", "more than %d are attached to %s", maxReferrers, desc.Digest)
	}
	if err != nil {
		return nil, fmt.Errorf("list what is attached to %s: %w", desc.Digest, err)
	}
	for _, d := range listed {
		if d.MediaType != ocispec.MediaTypeImageManifest {
			continue
		}
		m, err := s.pullReferrer(ctx, p, d, desc)
		if err != nil {
			return nil, fmt.Errorf("referrer %s: %w", clip(d.Digest.String()), err)
		}
		entry := plain(d)
		entry.ArtifactType = m.Type()
		out = append(out, entry)
		if depth >= maxReferrerDepth {
			continue
		}
		more, err := s.pullReferrers(ctx, p, entry, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

func (s *Store) pullReferrer(ctx context.Context, p *peer, d, subject ocispec.Descriptor) (Manifest, error) {
	data, err := p.document(ctx, d)
	if err != nil {
		return Manifest{}, err
	}
	m, err := ParseManifest(data)
	if err != nil {
		return m, err
	}
	if m.Subject == nil || m.Subject.Digest != subject.Digest {
		return m, invalid("manifest", "subject", "is not %s, though the registry lists it as attached to that", subject.Digest)
	}
	if err := s.downloadAll(ctx, p, append([]ocispec.Descriptor{m.Config}, m.Layers...)); err != nil {
		return m, err
	}
	return m, s.blobs.Push(ctx, d, bytes.NewReader(data))
}
