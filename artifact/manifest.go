package artifact

import (
	_ "crypto/sha256" // go-digest looks the hash up by its registration
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"math"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Manifest is a parsed and checked image manifest of any artifact type.
type Manifest struct {
	ocispec.Manifest
}

// Type returns the artifact's type. A manifest without artifactType is typed by
// its config (image-spec v1.1.1, manifest.md, "Guidelines for Artifact Usage").
func (m Manifest) Type() string {
	if m.ArtifactType != "" {
		return m.ArtifactType
	}
	return m.Config.MediaType
}

// IsGuest reports whether m is a guest image.
func (m Manifest) IsGuest() bool {
	return m.Type() == ArtifactType || m.ArtifactType == "" && m.Config.MediaType == MediaTypeConfig
}

// Layer returns the layer of a known media type.
func (m Manifest) Layer(mediaType string) (ocispec.Descriptor, bool) {
	for _, l := range m.Layers {
		if l.MediaType == mediaType {
			return l, true
		}
	}
	return ocispec.Descriptor{}, false
}

// ParseManifest reads an image manifest that anybody may have made. Of a guest
// image it also checks that config, kernel and initrd are there once, and that
// the titles of known layers are safe file names. Unknown fields and layers of
// unknown types are tolerated.
//
// The error is a *FieldError, or wraps ErrTitle.
func ParseManifest(data []byte) (Manifest, error) {
	const doc = "manifest"
	var m Manifest
	if len(data) > maxManifestSize {
		return m, invalid(doc, "size", "%d bytes is over the limit of %d", len(data), maxManifestSize)
	}
	// A document that is a manifest and an index at once shows different content
	// to different readers (CVE-2021-41190).
	if err := refuseFields(doc, data, "manifests", "fsLayers", "history"); err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m.Manifest); err != nil {
		return Manifest{}, jsonError(doc, err)
	}
	if err := m.validate(); err != nil {
		return Manifest{}, err
	}
	if m.IsGuest() {
		if err := m.validateGuest(); err != nil {
			return Manifest{}, err
		}
	}
	return m, nil
}

func (m Manifest) validate() error {
	const doc = "manifest"
	switch {
	case m.SchemaVersion != 2:
		return invalid(doc, "schemaVersion", "%d, want 2", m.SchemaVersion)
	case m.MediaType != "" && m.MediaType != ocispec.MediaTypeImageManifest:
		return invalid(doc, "mediaType", "%q, want %q", clip(m.MediaType), ocispec.MediaTypeImageManifest)
	case m.ArtifactType != "" && !mediaTypeOK(m.ArtifactType):
		return invalid(doc, "artifactType", "%q is not a media type (RFC 6838)", clip(m.ArtifactType))
	case m.Config.MediaType == ocispec.MediaTypeEmptyJSON && m.ArtifactType == "":
		return invalid(doc, "artifactType", "must be set when the config is empty")
	case len(m.Layers) > maxLayers:
		return invalid(doc, "layers", "%d layers, at most %d are allowed", len(m.Layers), maxLayers)
	case len(m.Annotations) > maxAnnotations:
		return invalid(doc, "annotations", "%d entries, at most %d are allowed", len(m.Annotations), maxAnnotations)
	}
	if err := checkDescriptor(doc, "config", m.Config, maxConfigSize); err != nil {
		return err
	}
	for i, l := range m.Layers {
		if err := checkDescriptor(doc, fmt.Sprintf("layers[%d]", i), l, maxBlobSize); err != nil {
			return err
		}
	}
	if m.Subject != nil {
		return checkDescriptor(doc, "subject", *m.Subject, maxManifestSize)
	}
	return nil
}

func (m Manifest) validateGuest() error {
	const doc = "manifest"
	if m.Config.MediaType != MediaTypeConfig {
		return invalid(doc, "config.mediaType", "%q, want %q", clip(m.Config.MediaType), MediaTypeConfig)
	}
	rules := layerRules()
	seen, titles := map[string]bool{}, map[string]bool{}
	for i, l := range m.Layers {
		rule, known := rules[l.MediaType]
		if !known {
			continue
		}
		at := fmt.Sprintf("layers[%d]", i)
		title := l.Annotations[ocispec.AnnotationTitle]
		switch {
		case seen[l.MediaType]:
			return invalid(doc, at+".mediaType", "%q is there twice", l.MediaType)
		case l.Size > rule.maxSize:
			return invalid(doc, at+".size", "%d bytes is over the limit of %d for %s", l.Size, rule.maxSize, l.MediaType)
		case l.Size == 0:
			return invalid(doc, at+".size", "the %s layer is empty", l.MediaType)
		case title != "" && titles[title]:
			return invalid(doc, at+".annotations", "the title %q is there twice", title)
		}
		if title != "" {
			if err := CheckTitle(title); err != nil {
				return fmt.Errorf("%s: %s.annotations: %w", doc, at, err)
			}
		}
		seen[l.MediaType], titles[title] = true, true
	}
	for _, mediaType := range []string{MediaTypeKernel, MediaTypeInitrd} {
		if !seen[mediaType] {
			return invalid(doc, "layers", "no layer of type %s", mediaType)
		}
	}
	return nil
}

// Index is a parsed and checked image index.
type Index struct {
	ocispec.Index
}

// ParseIndex reads an image index that anybody may have made. The error is a
// *FieldError.
func ParseIndex(data []byte) (Index, error) {
	return parseIndex("index", data, maxManifestSize, maxIndexManifests)
}

func parseIndex(doc string, data []byte, maxSize, maxManifests int) (Index, error) {
	var x Index
	if len(data) > maxSize {
		return x, invalid(doc, "size", "%d bytes is over the limit of %d", len(data), maxSize)
	}
	if err := refuseFields(doc, data, "layers", "config", "fsLayers", "history"); err != nil {
		return x, err
	}
	if err := json.Unmarshal(data, &x.Index); err != nil {
		return Index{}, jsonError(doc, err)
	}
	switch {
	case x.SchemaVersion != 2:
		return Index{}, invalid(doc, "schemaVersion", "%d, want 2", x.SchemaVersion)
	case x.MediaType != "" && x.MediaType != ocispec.MediaTypeImageIndex:
		return Index{}, invalid(doc, "mediaType", "%q, want %q", clip(x.MediaType), ocispec.MediaTypeImageIndex)
	case len(x.Manifests) > maxManifests:
		return Index{}, invalid(doc, "manifests", "%d entries, at most %d are allowed", len(x.Manifests), maxManifests)
	case len(x.Annotations) > maxAnnotations:
		return Index{}, invalid(doc, "annotations", "%d entries, at most %d are allowed", len(x.Annotations), maxAnnotations)
	}
	for i, d := range x.Manifests {
		if err := checkDescriptor(doc, fmt.Sprintf("manifests[%d]", i), d, maxManifestSize); err != nil {
			return Index{}, err
		}
	}
	if x.Subject != nil {
		if err := checkDescriptor(doc, "subject", *x.Subject, maxManifestSize); err != nil {
			return Index{}, err
		}
	}
	return x, nil
}

// refuseFields fails on documents that carry another document's fields.
func refuseFields(doc string, data []byte, fields ...string) error {
	var probe map[string]json.RawMessage
	if err := json.Unmarshal(data, &probe); err != nil {
		return jsonError(doc, err)
	}
	for _, f := range fields {
		if _, there := probe[f]; there {
			return invalid(doc, f, "is not a field of this kind of document")
		}
	}
	return nil
}

func checkDescriptor(doc, field string, d ocispec.Descriptor, maxSize int64) error {
	switch {
	case !mediaTypeOK(d.MediaType):
		return invalid(doc, field+".mediaType", "%q is not a media type (RFC 6838)", clip(d.MediaType))
	case !digestPattern.MatchString(d.Digest.String()):
		return invalid(doc, field+".digest", "%q is not a sha256 or sha512 digest", clip(d.Digest.String()))
	case d.Size < 0 || d.Size > maxSize:
		return invalid(doc, field+".size", "%d is out of range 0..%d", d.Size, maxSize)
	case len(d.Annotations) > maxAnnotations:
		return invalid(doc, field+".annotations", "%d entries, at most %d are allowed", len(d.Annotations), maxAnnotations)
	case d.Platform != nil && !(wordPattern.MatchString(d.Platform.OS) && wordPattern.MatchString(d.Platform.Architecture)):
		return invalid(doc, field+".platform", "%q is not a platform", clip(platformString(d.Platform)))
	case d.Platform != nil && !(printable(d.Platform.OSVersion) && printable(d.Platform.Variant)):
		return invalid(doc, field+".platform", "has control characters")
	case d.ArtifactType != "" && !mediaTypeOK(d.ArtifactType):
		return invalid(doc, field+".artifactType", "%q is not a media type (RFC 6838)", clip(d.ArtifactType))
	}
	return nil
}

// mediaTypeOK checks type/subtype against RFC 6838 section 4.2.
func mediaTypeOK(s string) bool {
	return len(s) <= 255 && mediaTypePattern.MatchString(s)
}

// totalSize adds up sizes that strangers wrote, saturating.
func totalSize(descs ...ocispec.Descriptor) int64 {
	var sum int64
	for _, d := range descs {
		if d.Size > math.MaxInt64-sum {
			return math.MaxInt64
		}
		sum += d.Size
	}
	return sum
}
