package artifact

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A local name is a repository name and a tag as the distribution specification
// v1.1.1 spells them ("Pulling manifests"); a pulled image keeps its registry
// and may be named by digest.
var (
	namePattern   = regexp.MustCompile(`^[a-zA-Z0-9.:\[\]_-]+(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$|^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`)
	tagPattern    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	prefixPattern = regexp.MustCompile(`^(sha256:|sha512:)?[0-9a-f]{7,128}$`)
)

// Reference is a parsed REF.
type reference struct {
	name   string // repository name, "" for a bare digest
	tag    string
	digest string // full "sha256:<hex>" after an "@"
	prefix string // hex digits that may be a digest's first ones, with or without algorithm
}

// parseReference splits REF. A word such as "abcdef1" may be a name and a
// digest's prefix; both are tried, names first.
func parseReference(ref string) (reference, error) {
	fail := func(why string) (reference, error) {
		return reference{}, fmt.Errorf("%w %q: %s", ErrInvalidReference, clip(ref), why)
	}
	if len(ref) > 512 {
		return fail("longer than 512 characters")
	}
	var r reference
	if prefixPattern.MatchString(ref) {
		r.prefix = ref
		if strings.Contains(ref, ":") {
			return r, nil
		}
	}
	rest, dig, hasDigest := strings.Cut(ref, "@")
	if hasDigest {
		if !digestPattern.MatchString(dig) {
			return fail("after \"@\" comes sha256: and 64 hex digits")
		}
		r.digest = dig
	}
	r.name = rest
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.Contains(rest[i:], "/") {
		r.name, r.tag = rest[:i], rest[i+1:]
		if !tagPattern.MatchString(r.tag) {
			return fail("a tag is at most 128 letters, digits and \"._-\"")
		}
	}
	if r.name == "sha256" || r.name == "sha512" {
		return fail("a digest needs at least 7 hex digits")
	}
	if !namePattern.MatchString(r.name) {
		return fail("want name:tag, host/path:tag, name@sha256:..., or a digest of at least 7 hex digits; names are lower case")
	}
	return r, nil
}

// normalTag checks what an image is to be called; a tag that is left out is latest.
func normalTag(name string) (string, error) {
	r, err := parseReference(name)
	if err != nil {
		return "", err
	}
	if r.digest != "" || r.name == "" {
		return "", fmt.Errorf("%w %q: a tag is wanted here, as in kernels:2.6.32", ErrInvalidReference, clip(name))
	}
	return r.name + ":" + cmp.Or(r.tag, "latest"), nil
}

// Resolved is what a reference names.
type Resolved struct {
	// Name is the full name in the store: "kernels:2.6.32"; empty for what has none.
	Name string
	// Index is the index that holds the manifest; nil if the manifest stands alone.
	Index    *ocispec.Descriptor
	Manifest ocispec.Descriptor
	Guest    Guest
	// Layers are the manifest's layers.
	Layers []ocispec.Descriptor
}

// Resolve finds what a reference names: name:tag, name (its tag latest, or its
// only tag), sha256:... of a manifest or index, the first 7 or more hex digits
// of one, name@sha256:..., or a registry reference as it was pulled. References
// are tried in the order given and the first that exists wins.
//
// Of an index the manifest for the store's platform is taken. The error wraps
// ErrNotFound (as a *RefError with names spelt alike), ErrAmbiguous,
// ErrInvalidReference, ErrPlatform, ErrNotGuest, ErrInvalid or ErrCorrupt.
func (s *Store) Resolve(ctx context.Context, ref string, more ...string) (Resolved, error) {
	t, err := s.lookupAny(ctx, ref, more...)
	if err != nil {
		return Resolved{}, err
	}
	return s.resolve(ctx, ref, t, true)
}

// resolve goes from an entry to one manifest. Unless strict, the only manifest
// of an index is taken whatever its platform.
func (s *Store) resolve(ctx context.Context, ref string, t target, strict bool) (Resolved, error) {
	r := Resolved{Name: t.name, Manifest: t.desc}
	if t.desc.MediaType == ocispec.MediaTypeImageIndex {
		x, err := s.index(ctx, t.desc)
		if err != nil {
			return r, fmt.Errorf("resolve %s: %w", ref, err)
		}
		index := plain(t.desc)
		r.Index = &index
		if r.Manifest, err = s.pick(x, strict); err != nil {
			return r, fmt.Errorf("resolve %s: %w", ref, err)
		}
	} else {
		r.Index = t.parent
		r.Manifest.Annotations = nil
	}
	m, g, err := s.guest(ctx, r.Manifest)
	if err != nil {
		return r, fmt.Errorf("resolve %s: %w", ref, err)
	}
	p := g.Platform()
	if strict && !platformMatches(s.platform, &p) {
		return r, fmt.Errorf("resolve %s: %w: it is for %s, want %s", ref, ErrPlatform, platformString(&p), platformString(&s.platform))
	}
	if in := r.Manifest.Platform; in != nil && !platformMatches(p, in) {
		return r, fmt.Errorf("resolve %s: %w", ref, invalid("index", "platform", "says %s but the config of %s says %s", platformString(in), r.Manifest.Digest, platformString(&p)))
	}
	r.Guest, r.Layers, r.Manifest.Platform = g, m.Layers, &p
	return r, nil
}

func plain(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType}
}

func (s *Store) pick(x Index, strict bool) (ocispec.Descriptor, error) {
	return pickPlatform(x, s.platform, strict)
}

func pickPlatform(x Index, want ocispec.Platform, strict bool) (ocispec.Descriptor, error) {
	var have []string
	for _, m := range x.Manifests {
		if m.MediaType != ocispec.MediaTypeImageManifest {
			continue
		}
		if platformMatches(want, m.Platform) {
			return m, nil
		}
		have = append(have, platformString(m.Platform))
	}
	if !strict && len(x.Manifests) == 1 && len(have) == 1 {
		return x.Manifests[0], nil
	}
	if len(have) == 0 {
		return ocispec.Descriptor{}, invalid("index", "manifests", "no image manifest is in it")
	}
	return ocispec.Descriptor{}, fmt.Errorf("%w: it is for %s, want %s", ErrPlatform, strings.Join(have, ", "), platformString(&want))
}

// target is an entry of index.json, or a manifest in an index there.
type target struct {
	name   string
	desc   ocispec.Descriptor
	parent *ocispec.Descriptor
}

// entries lists all that a reference may name, tags before untagged entries and
// before what is inside of an index.
func (s *Store) entries(ctx context.Context) ([]target, error) {
	top, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var out, inner []target
	for _, d := range top.Manifests {
		name := d.Annotations[ocispec.AnnotationRefName]
		out = append(out, target{name: name, desc: d})
		if d.MediaType != ocispec.MediaTypeImageIndex {
			continue
		}
		x, err := s.index(ctx, d)
		if err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			continue // a damaged index is reported to who asks for it
		}
		parent := plain(d)
		for _, m := range x.Manifests {
			inner = append(inner, target{name: name, desc: m, parent: &parent})
		}
	}
	slices.SortStableFunc(out, func(a, b target) int {
		switch {
		case a.name != "" && b.name == "":
			return -1
		case a.name == "" && b.name != "":
			return 1
		}
		return 0
	})
	return append(out, inner...), nil
}

func (s *Store) lookupAny(ctx context.Context, ref string, more ...string) (target, error) {
	entries, err := s.entries(ctx)
	if err != nil {
		return target{}, err
	}
	var first error
	for _, candidate := range append([]string{ref}, more...) {
		t, err := s.find(entries, candidate)
		if err == nil {
			return t, nil
		}
		if first == nil || isAmbiguous(err) {
			first = err
		}
		if isAmbiguous(err) {
			break
		}
	}
	return target{}, first
}

// find applies the forms of a reference in their order.
func (s *Store) find(entries []target, ref string) (target, error) {
	for _, t := range entries {
		if t.name == ref && t.parent == nil && ref != "" {
			return t, nil
		}
	}
	r, err := parseReference(ref)
	if err != nil {
		return target{}, err
	}
	var found []target
	switch {
	case r.digest != "":
		found = matching(entries, func(t target) bool {
			return t.desc.Digest == digest.Digest(r.digest) && (t.name == ref || nameMatches(t.name, r))
		})
	case r.name != "":
		if found, err = byName(entries, r, ref); err != nil {
			return target{}, err
		}
	}
	if len(found) == 0 && r.prefix != "" {
		found = matching(entries, func(t target) bool {
			d := t.desc.Digest
			return strings.HasPrefix(d.String(), r.prefix) || strings.HasPrefix(d.Encoded(), r.prefix)
		})
		if names := distinct(found, func(t target) string { return t.desc.Digest.String() }); len(names) > 1 {
			return target{}, &RefError{Ref: ref, Store: s.dir, Near: names, Err: ErrAmbiguous}
		}
	}
	if len(found) == 0 {
		return target{}, &RefError{Ref: ref, Store: s.dir, Near: nearNames(ref, entries), Err: ErrNotFound}
	}
	return found[0], nil
}

// byName finds name:tag, name:latest, or the only tag of name.
func byName(entries []target, r reference, ref string) ([]target, error) {
	tagged := matching(entries, func(t target) bool { return t.parent == nil && t.name != "" && nameMatches(t.name, r) })
	if r.tag != "" || len(tagged) < 2 {
		return tagged, nil
	}
	for _, t := range tagged {
		if t.name == r.name+":latest" {
			return []target{t}, nil
		}
	}
	return nil, &RefError{Ref: ref, Near: distinct(tagged, func(t target) string { return t.name }), Err: ErrAmbiguous}
}

// nameMatches compares repository name and, where the reference has one, tag.
func nameMatches(full string, r reference) bool {
	have, err := parseReference(full)
	return err == nil && have.name == r.name && (r.tag == "" || have.tag == r.tag)
}

func matching(entries []target, keep func(target) bool) []target {
	var out []target
	for _, t := range entries {
		if keep(t) {
			out = append(out, t)
		}
	}
	return out
}

func distinct(ts []target, key func(target) string) []string {
	var out []string
	for _, t := range ts {
		if k := key(t); !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}
