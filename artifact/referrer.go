package artifact

import (
	"bytes"
	"context"
	"fmt"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// addReferrers attaches SBOM and corresponding source to a stored manifest
// (image-spec v1.1.1, manifest.md, "subject").
func (s *Store) addReferrers(ctx context.Context, img Image, subject ocispec.Descriptor, opts AddOptions) ([]ocispec.Descriptor, error) {
	var out []ocispec.Descriptor
	if !opts.NoSBOM {
		m, err := s.manifest(ctx, subject)
		if err != nil {
			return nil, err
		}
		doc, err := sbom(img.Guest, subject, m.Layers, opts)
		if err != nil {
			return nil, err
		}
		desc, err := s.blobs.add(ctx, bytes.NewReader(doc), ArtifactTypeSBOM)
		if err != nil {
			return nil, err
		}
		desc.Annotations = map[string]string{ocispec.AnnotationTitle: "sbom.spdx.json"}
		if out, err = s.attach(ctx, out, subject, ArtifactTypeSBOM, opts, desc); err != nil {
			return nil, err
		}
	}
	if opts.Source == nil {
		return out, nil
	}
	layers, err := s.addSource(ctx, img, opts)
	if err != nil {
		return nil, fmt.Errorf("attach the corresponding source: %w", err)
	}
	return s.attach(ctx, out, subject, ArtifactTypeSource, opts, layers...)
}

func (s *Store) attach(ctx context.Context, out []ocispec.Descriptor, subject ocispec.Descriptor, artifactType string, opts AddOptions, layers ...ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	empty := ocispec.DescriptorEmptyJSON
	if err := s.blobs.Push(ctx, empty, bytes.NewReader(empty.Data)); err != nil {
		return nil, err
	}
	empty.Data = nil
	about := plain(subject)
	about.ArtifactType = ""
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: artifactType, Config: empty, Layers: layers, Subject: &about,
	}
	if !opts.Created.IsZero() {
		m.Annotations = map[string]string{ocispec.AnnotationCreated: timestamp(opts.Created)}
	}
	desc, err := s.addManifestJSON(ctx, m)
	if err != nil {
		return nil, err
	}
	desc.ArtifactType = artifactType
	return append(out, desc), nil
}

// Referrer is a manifest that is attached to another one.
type Referrer struct {
	Manifest ocispec.Descriptor   `json:"manifest"`
	Type     string               `json:"type"`
	Layers   []ocispec.Descriptor `json:"layers"`
}

// referrers finds what is attached to desc. index.json lists referrers without
// a name; what cannot be read there is no referrer of anything.
func (s *Store) referrers(ctx context.Context, top Index, desc ocispec.Descriptor) ([]Referrer, error) {
	var out []Referrer
	for _, d := range top.Manifests {
		if d.MediaType != ocispec.MediaTypeImageManifest || d.Annotations[ocispec.AnnotationRefName] != "" {
			continue
		}
		m, err := s.manifest(ctx, d)
		if ctx.Err() != nil {
			return nil, err
		}
		if err != nil || m.Subject == nil || m.Subject.Digest != desc.Digest {
			continue
		}
		out = append(out, Referrer{Manifest: plain(d), Type: m.Type(), Layers: m.Layers})
	}
	return out, nil
}
