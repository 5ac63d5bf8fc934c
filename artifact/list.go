package artifact

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Row is one line of List: one platform of one name.
type Row struct {
	Name         string        `json:"name"` // "" for an image that no tag names
	Digest       digest.Digest `json:"digest"`
	Index        digest.Digest `json:"index,omitempty"`
	Kernel       string        `json:"kernel"`
	Release      string        `json:"release"`
	Profile      string        `json:"profile"`
	Architecture string        `json:"architecture"`
	Size         int64         `json:"size"` // of the layers and the config
	Added        time.Time     `json:"added"`
	// Problem says why an entry cannot be used; "" for a good one.
	Problem string `json:"problem,omitempty"`
}

// List returns all images by name. What is damaged or is no guest image is
// listed with its Problem. Platforms of an index that were not pulled are left out.
func (s *Store) List(ctx context.Context) ([]Row, error) {
	top, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, d := range top.Manifests {
		more, err := s.rows(ctx, d)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return strings.Compare(a.Name+" "+a.Architecture, b.Name+" "+b.Architecture)
	})
	return rows, nil
}

func (s *Store) rows(ctx context.Context, d ocispec.Descriptor) ([]Row, error) {
	base := Row{Name: d.Annotations[ocispec.AnnotationRefName], Digest: d.Digest}
	if t, err := time.Parse(time.RFC3339, d.Annotations[annotationAdded]); err == nil {
		base.Added = t
	}
	if d.MediaType != ocispec.MediaTypeImageIndex {
		row, referrer := s.row(ctx, base, d)
		if referrer && base.Name == "" {
			return nil, ctx.Err()
		}
		return []Row{row}, ctx.Err()
	}
	base.Index = d.Digest
	x, err := s.index(ctx, d)
	if err != nil {
		base.Problem = err.Error()
		return []Row{base}, ctx.Err()
	}
	var rows []Row
	for _, m := range x.Manifests {
		if len(x.Manifests) > 1 && !s.blobs.has(m.Digest) {
			continue
		}
		row, _ := s.row(ctx, base, m)
		rows = append(rows, row)
	}
	return rows, ctx.Err()
}

func (s *Store) row(ctx context.Context, base Row, d ocispec.Descriptor) (row Row, referrer bool) {
	row = base
	row.Digest = d.Digest
	m, g, err := s.guest(ctx, d)
	if err != nil {
		row.Problem = err.Error()
		return row, m.Subject != nil
	}
	row.Kernel, row.Release, row.Profile, row.Architecture = g.Kernel.Version, g.Kernel.Release, g.Profile, g.Architecture
	row.Size = totalSize(append([]ocispec.Descriptor{m.Config}, m.Layers...)...)
	return row, m.Subject != nil
}
