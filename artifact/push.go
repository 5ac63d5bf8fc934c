package artifact

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Push sends what ref names, with all that is attached to it, to dest
// ("host/path:tag") and returns the digest that dest then has. Blobs that the
// registry has are not sent; those it has in a repository that an image of this
// store came from are mounted (distribution-spec v1.1.1, "Mounting a blob from
// another repository"). The tag is set last.
//
// The error wraps ErrUnreachable, ErrDenied, ErrRegistry, ErrPlainHTTP,
// ErrIncomplete, ErrNotFound or ErrInvalidReference, or is a *DigestError for a
// blob that is damaged in the store.
func (s *Store) Push(ctx context.Context, ref, dest string, opts RemoteOptions, progress Progress) (digest.Digest, error) {
	remoteRef, tag, err := parseRemote(dest)
	if err != nil {
		return "", err
	}
	if remoteRef.Reference != "" && remoteRef.Reference != tag {
		return "", fmt.Errorf("push to %s: %w: a destination has a tag, not a digest", dest, ErrInvalidReference)
	}
	release, err := s.use(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	t, err := s.lookupAny(ctx, ref)
	if err != nil {
		return "", err
	}
	if tag == "" {
		named, _ := parseReference(t.name)
		tag = cmp.Or(named.tag, "latest")
	}
	remoteRef.Reference = tag
	p, err := newPeer(remoteRef, opts, progress)
	if err != nil {
		return "", err
	}
	doing := fmt.Sprintf("push %s to %s", ref, remoteRef)
	plan, err := s.planPush(ctx, t.desc)
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	return t.desc.Digest, p.explain(ctx, doing, s.push(ctx, p, plan, tag))
}

// pushPlan is what a push sends, in an order a registry accepts: blobs, then
// manifests after what they refer to, then the root under its tag.
type pushPlan struct {
	blobs     []ocispec.Descriptor
	manifests []document
	root      document
}

type document struct {
	desc ocispec.Descriptor
	data []byte
}

func (s *Store) planPush(ctx context.Context, root ocispec.Descriptor) (*pushPlan, error) {
	top, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	plan := &pushPlan{}
	if root.MediaType != ocispec.MediaTypeImageIndex {
		if err := s.planManifest(ctx, top, root, plan, 0); err != nil {
			return nil, err
		}
		// It is sent under its tag, last. What is attached to it may come before it
		// (distribution-spec v1.1.1, "Pushing Manifests with Subject").
		plan.root, plan.manifests = plan.manifests[0], plan.manifests[1:]
		return plan, nil
	}
	x, err := s.index(ctx, root)
	if err != nil {
		return nil, err
	}
	for _, m := range x.Manifests {
		if !s.blobs.has(m.Digest) {
			return nil, fmt.Errorf("%w: %s of its index was not pulled; pull it with all platforms, or push the digest of the one that is there", ErrIncomplete, platformString(m.Platform))
		}
		if err := s.planManifest(ctx, top, m, plan, 0); err != nil {
			return nil, err
		}
	}
	data, err := s.blobs.readAll(ctx, root, maxManifestSize)
	plan.root = document{plain(root), data}
	return plan, err
}

// planManifest adds a manifest and, after it, what is attached to it.
func (s *Store) planManifest(ctx context.Context, top Index, desc ocispec.Descriptor, plan *pushPlan, depth int) error {
	data, err := s.blobs.readAll(ctx, desc, maxManifestSize)
	if err != nil {
		return err
	}
	m, err := ParseManifest(data)
	if err != nil {
		return err
	}
	for _, b := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if !slices.ContainsFunc(plan.blobs, func(have ocispec.Descriptor) bool { return have.Digest == b.Digest }) {
			plan.blobs = append(plan.blobs, b)
		}
	}
	plan.manifests = append(plan.manifests, document{plain(desc), data})
	if depth >= maxReferrerDepth {
		return nil
	}
	refs, err := s.referrers(ctx, top, desc)
	if err != nil {
		return err
	}
	for _, r := range refs {
		if err := s.planManifest(ctx, top, r.Manifest, plan, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) push(ctx context.Context, p *peer, plan *pushPlan, tag string) error {
	p.rep.send(EventPlan, ocispec.Descriptor{MediaType: plan.root.desc.MediaType, Digest: plan.root.desc.Digest, Size: totalSize(plan.blobs...)}, 0, nil)
	from, err := s.mountSources(ctx, p)
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, b := range plan.blobs {
		group.Go(func() error { return s.upload(groupCtx, p, b, from[b.Digest]) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, m := range plan.manifests {
		if err := p.repo.Manifests().Push(ctx, m.desc, bytes.NewReader(m.data)); err != nil {
			return fmt.Errorf("manifest %s: %w", m.desc.Digest, err)
		}
	}
	if err := p.repo.PushReference(ctx, plan.root.desc, bytes.NewReader(plan.root.data), tag); err != nil {
		return fmt.Errorf("tag %s: %w", tag, err)
	}
	return nil
}

// mountSources finds, for each blob, another repository of the same registry
// that has it, going by the names of pulled images.
func (s *Store) mountSources(ctx context.Context, p *peer) (map[digest.Digest]string, error) {
	entries, err := s.entries(ctx)
	if err != nil {
		return nil, err
	}
	from := map[digest.Digest]string{}
	for _, t := range entries {
		ref, _, err := parseRemote(t.name)
		if err != nil || ref.Registry != p.repo.Reference.Registry || ref.Repository == p.repo.Reference.Repository || t.desc.MediaType != ocispec.MediaTypeImageManifest {
			continue
		}
		m, err := s.manifest(ctx, t.desc)
		if err != nil {
			continue // a platform that was not pulled
		}
		for _, b := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
			from[b.Digest] = ref.Repository
		}
	}
	return from, ctx.Err()
}

// upload sends one blob, unless it is there. An upload that broke off starts
// again: a registry forgets the session of a monolithic upload.
func (s *Store) upload(ctx context.Context, p *peer, desc ocispec.Descriptor, mountFrom string) error {
	there, err := p.repo.Blobs().Exists(ctx, desc)
	if err != nil {
		return fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	if there {
		p.rep.send(EventSkipped, desc, desc.Size, nil)
		return nil
	}
	if _, err := s.blobs.ensure(ctx, desc); err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		mounted, err := s.send(ctx, p, desc, mountFrom)
		if err == nil {
			kind := EventDone
			if mounted {
				kind = EventMounted
			}
			p.rep.send(kind, desc, desc.Size, nil)
			return nil
		}
		if mountFrom != "" && ctx.Err() == nil {
			mountFrom = "" // the registry may refuse to read from there
		} else if attempt >= p.opts.retries() || ctx.Err() != nil || !transient(err) {
			return fmt.Errorf("blob %s: %w", desc.Digest, err)
		}
		p.rep.send(EventRetry, desc, 0, err)
		if err := p.pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func (s *Store) send(ctx context.Context, p *peer, desc ocispec.Descriptor, mountFrom string) (mounted bool, err error) {
	open := func() (io.ReadCloser, error) {
		rc, err := s.blobs.Fetch(ctx, desc)
		if err != nil {
			return nil, err
		}
		p.rep.send(EventStart, desc, 0, nil)
		return &sendMeter{ReadCloser: rc, p: p, desc: desc}, nil
	}
	if mountFrom != "" {
		mounted = true
		err = p.repo.Mount(ctx, desc, mountFrom, func() (io.ReadCloser, error) {
			mounted = false
			return open()
		})
		return mounted, err
	}
	rc, err := open()
	if err != nil {
		return false, err
	}
	defer rc.Close()
	return false, p.repo.Blobs().Push(ctx, desc, rc)
}

// sendMeter reports what was read to be sent.
type sendMeter struct {
	io.ReadCloser
	p    *peer
	desc ocispec.Descriptor
	n    int64
}

func (m *sendMeter) Read(b []byte) (int, error) {
	n, err := m.ReadCloser.Read(b)
	m.n += int64(n)
	m.p.rep.send(EventBytes, m.desc, m.n, nil)
	return n, err
}
