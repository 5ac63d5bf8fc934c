package artifact

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Problem is one thing that Verify found wrong.
type Problem struct {
	Image  string        `json:"image"` // name or digest of what it belongs to
	Digest digest.Digest `json:"digest"`
	What   string        `json:"what"`
	Fix    string        `json:"fix"`
	Err    error         `json:"-"`
}

// VerifyReport is the outcome of Verify.
type VerifyReport struct {
	Images   int       `json:"images"`
	Blobs    int       `json:"blobs"`
	Bytes    int64     `json:"bytes"`
	Problems []Problem `json:"problems"`
}

// Err returns nil for a report without problems, else an error that lists them
// and wraps what the first one wraps.
func (r VerifyReport) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	lines := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		lines[i] = fmt.Sprintf("%s: %s; %s", p.Image, p.What, p.Fix)
	}
	return &verifyError{strings.Join(lines, "\n"), r.Problems[0].Err}
}

type verifyError struct {
	text  string
	cause error
}

func (e *verifyError) Error() string { return e.text }
func (e *verifyError) Unwrap() error { return e.cause }

// Verify reads every blob of what a reference names, or of all images if ref is
// "", whatever was verified before. It checks digests, sizes, media types, the
// config's fields, and that index, config and platform agree, also of referrers.
//
// The error says that the check could not be done; what it found is in the report.
func (s *Store) Verify(ctx context.Context, ref string, more ...string) (VerifyReport, error) {
	top, err := s.readIndex()
	if err != nil {
		return VerifyReport{}, err
	}
	v := &verification{s: s, top: top, seen: map[digest.Digest]bool{}}
	v.report.Problems = []Problem{}
	if ref == "" {
		for _, d := range top.Manifests {
			v.root(ctx, entryName(d), d)
		}
		return v.report, context.Cause(ctx)
	}
	t, err := s.lookupAny(ctx, ref, more...)
	if err != nil {
		return VerifyReport{}, err
	}
	name := t.name
	if name == "" {
		name = t.desc.Digest.String()
	}
	v.root(ctx, name, t.desc)
	return v.report, context.Cause(ctx)
}

type verification struct {
	s      *Store
	top    Index
	seen   map[digest.Digest]bool
	report VerifyReport
}

func (v *verification) fail(image string, d digest.Digest, err error) {
	fix := mendBlob
	if errors.Is(err, ErrInvalid) || errors.Is(err, ErrTitle) || errors.Is(err, ErrSchema) {
		fix = "it was made so: ask who published it, or remove it"
	}
	// The reader's own errors already end with the fix.
	what := strings.TrimSuffix(err.Error(), "; "+fix)
	v.report.Problems = append(v.report.Problems, Problem{Image: image, Digest: d, What: what, Fix: fix, Err: err})
}

// blob re-reads one blob once.
func (v *verification) blob(ctx context.Context, image string, d ocispec.Descriptor) bool {
	if v.seen[d.Digest] {
		return true
	}
	v.seen[d.Digest] = true
	if err := v.s.blobs.rehash(ctx, d); err != nil {
		if ctx.Err() == nil {
			v.fail(image, d.Digest, err)
		}
		return false
	}
	v.report.Blobs++
	v.report.Bytes += d.Size
	return true
}

func (v *verification) root(ctx context.Context, name string, d ocispec.Descriptor) {
	if ctx.Err() != nil || !v.blob(ctx, name, d) {
		return
	}
	switch d.MediaType {
	case ocispec.MediaTypeImageManifest:
		v.manifest(ctx, name, d)
		return
	case ocispec.MediaTypeImageIndex:
	default:
		v.fail(name, d.Digest, invalid(ocispec.ImageIndexFile, "mediaType", "%q is neither a manifest nor an index", clip(d.MediaType)))
		return
	}
	x, err := v.s.index(ctx, d)
	if err != nil {
		v.fail(name, d.Digest, err)
		return
	}
	for _, m := range x.Manifests {
		if len(x.Manifests) > 1 && !v.s.blobs.has(m.Digest) {
			continue // a platform that was not pulled
		}
		if v.blob(ctx, name, m) {
			v.manifest(ctx, name, m)
		}
	}
}

func (v *verification) manifest(ctx context.Context, name string, d ocispec.Descriptor) {
	m, err := v.s.manifest(ctx, d)
	if err != nil {
		v.fail(name, d.Digest, err)
		return
	}
	for _, blob := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		v.blob(ctx, name, blob)
	}
	if m.Subject == nil {
		v.report.Images++
		v.config(ctx, name, d, m)
	}
	refs, err := v.s.referrers(ctx, v.top, d)
	if err != nil {
		return
	}
	for _, r := range refs {
		if !v.seen[r.Manifest.Digest] && v.blob(ctx, name, r.Manifest) {
			v.manifest(ctx, name+" ("+r.Type+")", r.Manifest)
		}
	}
}

// config checks that what the config says is what index and layers say.
func (v *verification) config(ctx context.Context, name string, d ocispec.Descriptor, m Manifest) {
	_, g, err := v.s.guest(ctx, d)
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrIncomplete) {
		return // reported as a blob
	}
	if err != nil {
		v.fail(name, d.Digest, err)
		return
	}
	p := g.Platform()
	if d.Platform != nil && (!platformMatches(p, d.Platform) || d.Platform.OSVersion != "" && d.Platform.OSVersion != p.OSVersion) {
		v.fail(name, d.Digest, invalid("index", "platform", "is %s %s but the config says %s %s", platformString(d.Platform), clip(d.Platform.OSVersion), platformString(&p), p.OSVersion))
	}
	kconfig, ok := m.Layer(MediaTypeKConfig)
	if want := g.Provenance.ConfigSHA256; ok && want != "" && kconfig.Digest != digest.Digest("sha256:"+want) {
		v.fail(name, kconfig.Digest, invalid("config", "provenance.configSHA256", "is %s but the layer %s is %s", want, TitleKConfig, kconfig.Digest))
	}
}
