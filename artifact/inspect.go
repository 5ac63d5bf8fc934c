package artifact

import (
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Inspection is all that the store knows of what a reference names.
type Inspection struct {
	Name   string              `json:"name,omitempty"`
	Index  *ocispec.Descriptor `json:"index,omitempty"`
	Images []InspectedImage    `json:"images"`
}

// InspectedImage is one platform's image.
type InspectedImage struct {
	Manifest    ocispec.Descriptor   `json:"manifest"`
	Guest       Guest                `json:"guest"`
	Config      ocispec.Descriptor   `json:"config"`
	Layers      []ocispec.Descriptor `json:"layers"`
	Annotations map[string]string    `json:"annotations,omitempty"`
	Referrers   []Referrer           `json:"referrers"`
	Size        int64                `json:"size"`
}

// Inspect describes an image, or each platform of an index that is in the store.
// References are tried in order, as in Resolve.
func (s *Store) Inspect(ctx context.Context, ref string, more ...string) (Inspection, error) {
	t, err := s.lookupAny(ctx, ref, more...)
	if err != nil {
		return Inspection{}, err
	}
	top, err := s.readIndex()
	if err != nil {
		return Inspection{}, err
	}
	out := Inspection{Name: t.name}
	manifests := []ocispec.Descriptor{t.desc}
	if t.desc.MediaType == ocispec.MediaTypeImageIndex {
		x, err := s.index(ctx, t.desc)
		if err != nil {
			return out, err
		}
		index := plain(t.desc)
		out.Index, manifests = &index, x.Manifests
	}
	for _, d := range manifests {
		if len(manifests) > 1 && !s.blobs.has(d.Digest) {
			continue // a platform that was not pulled
		}
		image, err := s.inspect(ctx, top, d)
		if err != nil {
			return out, err
		}
		out.Images = append(out.Images, image)
	}
	return out, nil
}

func (s *Store) inspect(ctx context.Context, top Index, d ocispec.Descriptor) (InspectedImage, error) {
	m, g, err := s.guest(ctx, d)
	if err != nil {
		return InspectedImage{}, err
	}
	refs, err := s.referrers(ctx, top, d)
	if err != nil {
		return InspectedImage{}, err
	}
	p := g.Platform()
	desc := plain(d)
	desc.Platform = &p
	return InspectedImage{
		Manifest: desc, Guest: g, Config: m.Config, Layers: m.Layers, Annotations: m.Annotations,
		Referrers: append([]Referrer{}, refs...),
		Size:      totalSize(append([]ocispec.Descriptor{m.Config}, m.Layers...)...),
	}, nil
}
