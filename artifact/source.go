package artifact

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// CorrespondingSource is what section 3 of the GPL, version 2, asks for: all that
// was done to the upstream source, the configuration, and where the upstream
// source is, or that source itself.
type CorrespondingSource struct {
	// TarballURL and TarballSHA256 (64 hex digits) name the upstream source.
	TarballURL    string
	TarballSHA256 string
	// Patches are the applied patches in their order.
	Patches []SourceFile
	// Files are further ones, such as build scripts and Kconfig fragments.
	Files []SourceFile
	// Build is how to build it again: command lines, printed in the README.
	Build string
	// Tarball, if given, is attached too, byte for byte, under TarballName.
	Tarball     FileRef
	TarballName string
}

// SourceFile is one file of the source archive; Name is relative, with slashes.
type SourceFile struct {
	Name string
	Data []byte
}

// addSource stores the archive and, if given, the tarball.
func (s *Store) addSource(ctx context.Context, img Image, opts AddOptions) ([]ocispec.Descriptor, error) {
	src := opts.Source
	archive, err := src.archive(img, opts)
	if err != nil {
		return nil, err
	}
	desc, err := s.blobs.add(ctx, bytes.NewReader(archive), MediaTypeSource)
	if err != nil {
		return nil, err
	}
	desc.Annotations = map[string]string{ocispec.AnnotationTitle: "source.tar.gz"}
	layers := []ocispec.Descriptor{desc}
	if src.Tarball.IsZero() {
		return layers, nil
	}
	name := cmp.Or(src.TarballName, path.Base(src.TarballURL))
	if err := CheckTitle(name); err != nil {
		return nil, fmt.Errorf("tarball: %w", err)
	}
	tarball, err := s.addFile(ctx, src.Tarball, MediaTypeSourceTarball)
	if err != nil {
		return nil, fmt.Errorf("tarball: %w", err)
	}
	if want := src.TarballSHA256; want != "" && tarball.Digest.Encoded() != want {
		return nil, &DigestError{Blob: tarball.Digest, Where: "the source tarball", Got: "sha256 " + tarball.Digest.Encoded() + ", want " + want}
	}
	tarball.Annotations = map[string]string{ocispec.AnnotationTitle: name}
	return append(layers, tarball), nil
}

// archive is a gzip'd tar with fixed times, owners and order.
func (c *CorrespondingSource) archive(img Image, opts AddOptions) ([]byte, error) {
	files := []SourceFile{{"README", []byte(c.readme(img.Guest))}}
	if !img.Config.IsZero() {
		config, err := img.Config.read()
		if err != nil {
			return nil, fmt.Errorf("read the kernel configuration: %w", err)
		}
		files = append(files, SourceFile{"config", config})
	}
	var series strings.Builder
	for _, p := range c.Patches {
		fmt.Fprintln(&series, path.Base(p.Name))
		files = append(files, SourceFile{"patches/" + path.Base(p.Name), p.Data})
	}
	if len(c.Patches) > 0 {
		files = append(files, SourceFile{"patches/series", []byte(series.String())})
	}
	files = append(files, c.Files...)
	slices.SortStableFunc(files, func(a, b SourceFile) int { return strings.Compare(a.Name, b.Name) })
	return tarGzip(files, opts.Created)
}

func tarGzip(files []SourceFile, at time.Time) ([]byte, error) {
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	tw := tar.NewWriter(zw)
	last := ""
	for _, f := range files {
		if f.Name == "" || f.Name == last || path.IsAbs(f.Name) || path.Clean(f.Name) != f.Name || strings.HasPrefix(f.Name, "../") {
			return nil, fmt.Errorf("source file %q: the name is empty, there twice, or no clean relative path", f.Name)
		}
		last = f.Name
		hdr := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Size: int64(len(f.Data)), Mode: 0o644, ModTime: at.UTC().Truncate(time.Second), Format: tar.FormatUSTAR}
		if err := tw.WriteHeader(hdr); err != nil {
			return nil, fmt.Errorf("source file %s: %w", f.Name, err)
		}
		if _, err := tw.Write(f.Data); err != nil {
			return nil, fmt.Errorf("source file %s: %w", f.Name, err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func (c *CorrespondingSource) readme(g Guest) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("Corresponding source of the Linux kernel %s", g.Kernel.Release)
	p("")
	p("The kernel in this guest image is licensed under the GNU General Public")
	p("License, version 2. Its source is")
	p("")
	switch {
	case c.TarballURL != "":
		p("  %s", c.TarballURL)
	case !c.Tarball.IsZero():
		p("  %s", c.TarballName)
	default:
		p("  (a local tree; digest %s)", cmp.Or(g.Provenance.Source.Digest, "not recorded"))
	}
	if c.TarballSHA256 != "" {
		p("  sha256 %s", c.TarballSHA256)
	}
	if !c.Tarball.IsZero() {
		p("")
		p("which is attached beside this archive.")
	}
	if len(c.Patches) > 0 {
		p("")
		p("with the patches in patches/ applied in the order of patches/series.")
	}
	p("")
	p("It was configured with the file config (copy it to .config).")
	if g.Provenance.Compiler != "" {
		p("It was compiled with %s.", g.Provenance.Compiler)
	}
	if c.Build != "" {
		p("")
		p("To build it:")
		p("")
		for line := range strings.Lines(c.Build) {
			p("  %s", strings.TrimRight(line, "\n"))
		}
	}
	return b.String()
}
