package artifact

import (
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ArtifactType is the artifactType of a guest image's manifest (image-spec
// v1.1.1, manifest.md, "Image Manifest Property Descriptions").
const ArtifactType = "application/vnd.runv-legacy.guest.v1"

// Media types of a guest image's blobs.
const (
	MediaTypeConfig    = "application/vnd.runv-legacy.guest.config.v1+json"
	MediaTypeKernel    = "application/vnd.runv-legacy.guest.kernel.v1"
	MediaTypeInitrd    = "application/vnd.runv-legacy.guest.initrd.v1"
	MediaTypeKConfig   = "application/vnd.runv-legacy.guest.kconfig.v1"
	MediaTypeSystemMap = "application/vnd.runv-legacy.guest.system-map.v1"
	MediaTypeModules   = "application/vnd.runv-legacy.guest.modules.v1.tar+gzip"
	MediaTypeDebug     = "application/vnd.runv-legacy.guest.debug.v1+gzip"
	MediaTypeDebugZstd = "application/vnd.runv-legacy.guest.debug.v1+zstd"
)

// Artifact types and media types of what is attached to a guest image as a
// referrer.
const (
	// ArtifactTypeSBOM is SPDX's registered media type.
	ArtifactTypeSBOM = "application/spdx+json"
	// ArtifactTypeSource is the corresponding source of the kernel.
	ArtifactTypeSource = "application/vnd.runv-legacy.guest.source.v1"
	// MediaTypeSource is the layer with patches, series, configuration and README.
	MediaTypeSource = "application/vnd.runv-legacy.guest.source.v1.tar+gzip"
	// MediaTypeSourceTarball is the layer with the upstream tarball, byte for byte.
	MediaTypeSourceTarball = "application/vnd.runv-legacy.guest.source.tarball.v1"
)

// Titles of the layers: the file names that "oras pull" and Extract give.
const (
	TitleKernel    = "vmlinuz"
	TitleInitrd    = "initrd.img"
	TitleKConfig   = "config"
	TitleSystemMap = "System.map"
	TitleModules   = "modules.tar.gz"
	TitleDebug     = "vmlinux.gz"
	TitleDebugZstd = "vmlinux.zst"
	// TitleGuest is the config blob's name when it is extracted; no layer may have it.
	TitleGuest = "guest.json"
)

// annotationAdded is kept on the store's own index.json entries only, so that
// the time an image was added changes no digest.
const annotationAdded = "io.github.runv-legacy.store.added"

// layerRule says what a layer of a known media type may be.
type layerRule struct {
	required bool
	maxSize  int64
}

// layerRules returns the known layers. A kernel or initrd has to fit below 4 GiB
// in the guest and in practice is some MiB (Documentation/x86/boot.rst,
// "ramdisk_image" is a 32-bit address), so 1 GiB is generous.
func layerRules() map[string]layerRule {
	const gib = 1 << 30
	return map[string]layerRule{
		MediaTypeKernel:    {required: true, maxSize: gib},
		MediaTypeInitrd:    {required: true, maxSize: gib},
		MediaTypeKConfig:   {maxSize: 16 << 20},
		MediaTypeSystemMap: {maxSize: 256 << 20},
		MediaTypeModules:   {maxSize: 8 * gib},
		MediaTypeDebug:     {maxSize: 8 * gib},
		MediaTypeDebugZstd: {maxSize: 8 * gib},
	}
}

// Limits on what is read from strangers. 4 MiB is what the distribution
// specification asks registries to accept as a manifest.
const (
	maxManifestSize   = 4 << 20
	maxConfigSize     = 1 << 20
	maxLayoutIndex    = 16 << 20
	maxLayers         = 64
	maxIndexManifests = 128
	maxAnnotations    = 256
	maxReferrers      = 64
	maxReferrerDepth  = 3
	maxBlobSize       = 8 << 30
)

// DefaultPlatform returns linux/amd64, the platform of the guests that kbuild builds.
func DefaultPlatform() ocispec.Platform {
	return ocispec.Platform{OS: "linux", Architecture: "amd64"}
}

// Architecture returns the OCI name (Go's GOARCH, image-spec image-index.md) of
// a kernel architecture as uname or a profile spells it.
func Architecture(kernelArch string) (string, error) {
	switch kernelArch {
	case "x86_64", "amd64":
		return "amd64", nil
	case "i386", "i486", "i586", "i686", "386":
		return "386", nil
	case "aarch64", "arm64":
		return "arm64", nil
	}
	return "", fmt.Errorf("architecture %q has no OCI name here; known: x86_64, i686, aarch64", kernelArch)
}

func platformString(p *ocispec.Platform) string {
	if p == nil {
		return "unknown platform"
	}
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}
