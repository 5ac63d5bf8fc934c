package artifact

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// sbom writes an SPDX 2.3 document (https://spdx.github.io/spdx-spec/v2.3/) about
// a guest image. It says only what the build knows: the kernel and what it was
// generated from, each patch, the initrd, and each file with its digest. SPDX
// wants a time of creation; without one from the caller it is the epoch, so that
// the same image gives the same document.
func sbom(g Guest, manifest ocispec.Descriptor, layers []ocispec.Descriptor, opts AddOptions) ([]byte, error) {
	created := opts.Created
	if created.IsZero() {
		created = time.Unix(0, 0)
	}
	tool := strings.TrimSpace("kbuild-" + g.Provenance.KbuildVersion)
	b := &sbomBuilder{doc: &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName:      "linux-" + g.Kernel.Release + "-guest",
		DocumentNamespace: "https://github.com/runv-legacy/runv-legacy/spdx/" + manifest.Digest.Encoded(),
		CreationInfo: &v2_3.CreationInfo{
			Created:  timestamp(created),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: strings.TrimSuffix(tool, "-")}},
		},
	}}
	image := b.pkg("Image", "guest-"+g.Kernel.Release, g.Kernel.Version, opts.licenses(), "CONTAINER")
	image.PackageChecksums = checksums(string(manifest.Digest))
	b.relate("DOCUMENT", common.TypeRelationshipDescribe, "Image")

	kernel := b.pkg("Kernel", "linux", g.Kernel.Version, "GPL-2.0-only", "OPERATING-SYSTEM")
	if g.Provenance.Compiler != "" {
		kernel.PackageSourceInfo = "compiled with " + g.Provenance.Compiler
	}
	b.relate("Image", common.TypeRelationshipContains, "Kernel")
	b.source(g)
	b.patches(g)
	b.pkg("Initrd", "guestinit", g.Provenance.KbuildVersion, "Apache-2.0", "INSTALL")
	b.relate("Image", common.TypeRelationshipContains, "Initrd")
	b.files(layers)

	var buf bytes.Buffer
	if err := spdxjson.Write(b.doc, &buf, spdxjson.EscapeHTML(false)); err != nil {
		return nil, fmt.Errorf("write the SPDX document: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

type sbomBuilder struct{ doc *v2_3.Document }

const noAssertion = "NOASSERTION"

func (b *sbomBuilder) pkg(id common.ElementID, name, version, license, purpose string) *v2_3.Package {
	p := &v2_3.Package{
		PackageName: name, PackageSPDXIdentifier: id, PackageVersion: version,
		PackageDownloadLocation: noAssertion, PackageLicenseConcluded: noAssertion,
		PackageLicenseDeclared: license, PackageCopyrightText: noAssertion, PrimaryPackagePurpose: purpose,
	}
	b.doc.Packages = append(b.doc.Packages, p)
	return p
}

func (b *sbomBuilder) relate(a common.ElementID, kind string, to common.ElementID) {
	b.doc.Relationships = append(b.doc.Relationships, &v2_3.Relationship{
		RefA: common.MakeDocElementID("", string(a)), RefB: common.MakeDocElementID("", string(to)), Relationship: kind,
	})
}

func (b *sbomBuilder) source(g Guest) {
	src := g.Provenance.Source
	p := b.pkg("KernelSource", "linux-source", g.Kernel.Version, "GPL-2.0-only", "SOURCE")
	if src.URL != "" {
		p.PackageDownloadLocation = src.URL
	}
	if src.Verification == "unverified-local" {
		p.PackageComment = "local source that was not verified against a published digest"
	}
	p.PackageChecksums = checksums(src.Digest)
	b.relate("Kernel", common.TypeRelationshipGeneratedFrom, "KernelSource")
}

func (b *sbomBuilder) patches(g Guest) {
	for i, patch := range g.Provenance.Patches {
		id := common.ElementID(fmt.Sprintf("Patch-%d", i+1))
		p := b.pkg(id, patch.ID, "", "GPL-2.0-only", "SOURCE")
		p.PackageChecksums = checksums("sha256:" + patch.SHA256)
		if patch.Mainline != "" {
			p.PackageSourceInfo = "follows mainline commit " + patch.Mainline
		}
		b.relate(id, common.TypeRelationshipPatchFor, "KernelSource")
	}
}

// files lists the layers. SPDX makes a SHA1 of each file mandatory (section 8.4)
// for its package verification code, so they are packages with purpose FILE.
func (b *sbomBuilder) files(layers []ocispec.Descriptor) {
	for i, l := range layers {
		id := common.ElementID(fmt.Sprintf("File-%d", i+1))
		p := b.pkg(id, l.Annotations[ocispec.AnnotationTitle], "", noAssertion, "FILE")
		p.PackageFileName = l.Annotations[ocispec.AnnotationTitle]
		p.PackageChecksums = checksums(string(l.Digest))
		switch l.MediaType {
		case MediaTypeInitrd:
			b.relate(id, common.TypeRelationshipGeneratedFrom, "Initrd")
		default:
			b.relate(id, common.TypeRelationshipGeneratedFrom, "Kernel")
		}
	}
}

func checksums(dig string) []common.Checksum {
	alg, hex, ok := strings.Cut(dig, ":")
	if !ok {
		return nil
	}
	return []common.Checksum{{Algorithm: common.ChecksumAlgorithm(strings.ToUpper(alg)), Value: hex}}
}
