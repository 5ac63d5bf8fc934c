package artifact

import (
	"context"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Remove takes what a reference names out of the store and returns the names
// that went. A tag takes only itself; a digest takes each name of that image.
// Blobs stay until GC.
func (s *Store) Remove(ctx context.Context, ref string, more ...string) ([]string, error) {
	release, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	var removed []string
	err = s.updateIndex(ctx, func(top *Index) error {
		t, err := s.lookupAny(ctx, ref, more...)
		if err != nil {
			return err
		}
		doomed, err := s.doomed(ctx, *top, t, parsedAsDigest(t, append(more, ref)))
		if err != nil {
			return err
		}
		top.Manifests = slices.DeleteFunc(top.Manifests, func(d ocispec.Descriptor) bool {
			if !doomed(d) {
				return false
			}
			name := d.Annotations[ocispec.AnnotationRefName]
			if name == "" {
				name = d.Digest.String()
			}
			removed = append(removed, name)
			return true
		})
		return nil
	})
	return removed, err
}

// parsedAsDigest reports whether none of the references is the target's name.
func parsedAsDigest(t target, refs []string) bool {
	for _, ref := range refs {
		if r, err := parseReference(ref); err == nil && t.name != "" && r.name != "" && (t.name == ref || nameMatches(t.name, r)) {
			return false
		}
	}
	return true
}

func (s *Store) doomed(ctx context.Context, top Index, t target, byDigest bool) (func(ocispec.Descriptor) bool, error) {
	if !byDigest {
		return func(d ocispec.Descriptor) bool { return d.Annotations[ocispec.AnnotationRefName] == t.name }, nil
	}
	digests := map[string]bool{t.desc.Digest.String(): true}
	for _, d := range top.Manifests {
		if d.MediaType != ocispec.MediaTypeImageIndex {
			continue
		}
		x, err := s.index(ctx, d)
		if err != nil {
			continue
		}
		holds := slices.ContainsFunc(x.Manifests, func(m ocispec.Descriptor) bool { return m.Digest == t.desc.Digest })
		if holds && len(x.Manifests) > 1 && d.Digest != t.desc.Digest {
			return nil, fmt.Errorf("remove %s: it is one of %d platforms of %s; remove that name instead", t.desc.Digest, len(x.Manifests), d.Annotations[ocispec.AnnotationRefName])
		}
		if holds {
			digests[d.Digest.String()] = true
		}
	}
	return func(d ocispec.Descriptor) bool { return digests[d.Digest.String()] }, nil
}
