package artifact

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Add makes a guest image of img, stores it and points tag ("name:tag") to it;
// without a tag it is named "untagged:<12 digits of its digest>". An image of
// another platform that the tag has stays in the tag's index; one of the same
// platform is replaced. The same img and opts give the same digests.
//
// Nothing is visible under tag before all is stored durably. Add is idempotent.
func (s *Store) Add(ctx context.Context, img Image, tag string, opts AddOptions) (ocispec.Descriptor, error) {
	var none ocispec.Descriptor
	if tag != "" {
		name, err := normalTag(tag)
		if err != nil {
			return none, err
		}
		tag = name
	}
	if img.Guest.SchemaVersion == 0 {
		img.Guest.SchemaVersion = SchemaVersion
	}
	if err := img.validate(); err != nil {
		return none, err
	}
	release, err := s.use(ctx)
	if err != nil {
		return none, err
	}
	defer release()

	desc, err := s.addManifest(ctx, img, opts)
	if err != nil {
		return none, err
	}
	referrers, err := s.addReferrers(ctx, img, desc, opts)
	if err != nil {
		return none, err
	}
	if tag == "" {
		tag = "untagged:" + desc.Digest.Encoded()[:12]
	}
	return desc, s.tagPlatform(ctx, tag, desc, referrers)
}

// addManifest stores layers, config and manifest, in this order.
func (s *Store) addManifest(ctx context.Context, img Image, opts AddOptions) (ocispec.Descriptor, error) {
	var none ocispec.Descriptor
	layers, err := s.addLayers(ctx, img)
	if err != nil {
		return none, err
	}
	if err := checkConfigDigest(&img.Guest, layers); err != nil {
		return none, err
	}
	guest, err := img.Guest.marshal()
	if err != nil {
		return none, err
	}
	config, err := s.blobs.add(ctx, bytes.NewReader(guest), MediaTypeConfig)
	if err != nil {
		return none, err
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactType, Config: config, Layers: layers, Annotations: annotationsOf(img.Guest, opts),
	}
	desc, err := s.addManifestJSON(ctx, m)
	if err != nil {
		return none, err
	}
	p := img.Guest.Platform()
	desc.ArtifactType, desc.Platform = ArtifactType, &p
	return desc, nil
}

// checkConfigDigest fills in provenance.configSHA256, or compares it with the
// configuration that is packed.
func checkConfigDigest(g *Guest, layers []ocispec.Descriptor) error {
	for _, l := range layers {
		if l.MediaType != MediaTypeKConfig {
			continue
		}
		switch got := l.Digest.Encoded(); g.Provenance.ConfigSHA256 {
		case "":
			g.Provenance.ConfigSHA256 = got
		case got:
		default:
			return invalid("config", "provenance.configSHA256", "is %s but the file %s has %s", g.Provenance.ConfigSHA256, TitleKConfig, got)
		}
	}
	return nil
}

func (s *Store) addManifestJSON(ctx context.Context, m ocispec.Manifest) (ocispec.Descriptor, error) {
	data, err := marshalJSON(m)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encode manifest: %w", err)
	}
	if _, err := ParseManifest(data); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("the image cannot be an artifact: %w", err)
	}
	return s.blobs.add(ctx, bytes.NewReader(data), ocispec.MediaTypeImageManifest)
}

func annotationsOf(g Guest, opts AddOptions) map[string]string {
	a := map[string]string{
		ocispec.AnnotationTitle:    "Linux " + g.Kernel.Release + " guest",
		ocispec.AnnotationVersion:  g.Kernel.Version,
		ocispec.AnnotationLicenses: opts.licenses(),
	}
	if g.Provenance.Source.URL != "" {
		a[ocispec.AnnotationSource] = g.Provenance.Source.URL
	}
	if !opts.Created.IsZero() {
		a[ocispec.AnnotationCreated] = opts.Created.UTC().Format(time.RFC3339)
	}
	maps.Copy(a, opts.Annotations)
	return a
}

func (s *Store) addLayers(ctx context.Context, img Image) ([]ocispec.Descriptor, error) {
	debugType, debugTitle, debug, err := debugLayer(img.Debug)
	if err != nil {
		return nil, err
	}
	if err := checkModules(img.Modules); err != nil {
		return nil, err
	}
	var layers []ocispec.Descriptor
	for _, l := range []struct {
		mediaType, title string
		file             opener
	}{
		{MediaTypeKernel, TitleKernel, img.Kernel},
		{MediaTypeInitrd, TitleInitrd, img.Initrd},
		{MediaTypeKConfig, TitleKConfig, img.Config},
		{MediaTypeSystemMap, TitleSystemMap, img.SystemMap},
		{MediaTypeModules, TitleModules, img.Modules},
		{debugType, debugTitle, debug},
	} {
		if l.file.IsZero() {
			continue
		}
		desc, err := s.addFile(ctx, l.file, l.mediaType)
		if err != nil {
			return nil, fmt.Errorf("add %s: %w", l.title, err)
		}
		desc.Annotations = map[string]string{ocispec.AnnotationTitle: l.title}
		layers = append(layers, desc)
	}
	return layers, nil
}

func (s *Store) addFile(ctx context.Context, file opener, mediaType string) (ocispec.Descriptor, error) {
	r, err := file.open()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer r.Close()
	return s.blobs.add(ctx, r, mediaType)
}

// tagPlatform points tag to an index that has desc for its platform, beside the
// other platforms that tag had. Referrers are listed in index.json without a
// name, which is where OCI layout readers look for them.
func (s *Store) tagPlatform(ctx context.Context, tag string, desc ocispec.Descriptor, referrers []ocispec.Descriptor) error {
	return s.updateIndex(ctx, func(top *Index) error {
		// No artifactType here: programs that know image-spec v1.0 only (skopeo 1.9)
		// drop it when they copy an index, which would change the index's digest.
		entry := desc
		entry.ArtifactType = ""
		manifests := []ocispec.Descriptor{entry}
		others, err := s.platformsOf(ctx, *top, tag)
		if err != nil {
			return err
		}
		for _, o := range others {
			if !platformMatches(*desc.Platform, o.Platform) {
				manifests = append(manifests, o)
			}
		}
		slices.SortFunc(manifests, func(a, b ocispec.Descriptor) int {
			return cmp.Or(strings.Compare(platformString(a.Platform), platformString(b.Platform)), strings.Compare(a.Digest.String(), b.Digest.String()))
		})
		data, err := marshalJSON(ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests,
		})
		if err != nil {
			return fmt.Errorf("encode index: %w", err)
		}
		if _, err := ParseIndex(data); err != nil {
			return err
		}
		index, err := s.blobs.add(ctx, bytes.NewReader(data), ocispec.MediaTypeImageIndex)
		if err != nil {
			return err
		}
		index.ArtifactType = ArtifactType
		s.setTag(top, tag, index)
		addUntagged(top, referrers)
		return nil
	})
}

// platformsOf returns the manifests that a tag has now. A tag whose index is
// damaged is replaced, not an error: that is how it is mended.
func (s *Store) platformsOf(ctx context.Context, top Index, tag string) ([]ocispec.Descriptor, error) {
	for _, d := range top.Manifests {
		if d.Annotations[ocispec.AnnotationRefName] != tag {
			continue
		}
		if d.MediaType != ocispec.MediaTypeImageIndex {
			_, g, err := s.guest(ctx, d)
			if err != nil {
				return nil, ctx.Err()
			}
			p := g.Platform()
			return []ocispec.Descriptor{{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: &p}}, nil
		}
		x, err := s.index(ctx, d)
		if err != nil {
			return nil, ctx.Err()
		}
		return x.Manifests, nil
	}
	return nil, nil
}

// setTag gives a tag a new target. The entry keeps the time of the first adding
// when nothing changed.
func (s *Store) setTag(top *Index, tag string, desc ocispec.Descriptor) {
	added := s.now().UTC().Format(time.RFC3339)
	top.Manifests = slices.DeleteFunc(top.Manifests, func(d ocispec.Descriptor) bool {
		if d.Annotations[ocispec.AnnotationRefName] != tag {
			return false
		}
		if t := d.Annotations[annotationAdded]; t != "" && d.Digest == desc.Digest {
			added = t
		}
		return true
	})
	desc.Annotations = map[string]string{ocispec.AnnotationRefName: tag, annotationAdded: added}
	top.Manifests = append(top.Manifests, desc)
}

func addUntagged(top *Index, descs []ocispec.Descriptor) {
	for _, d := range descs {
		known := slices.ContainsFunc(top.Manifests, func(have ocispec.Descriptor) bool { return have.Digest == d.Digest })
		if !known {
			top.Manifests = append(top.Manifests, d)
		}
	}
}
