package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	spdxjson "github.com/spdx/tools-golang/json"
)

func TestAddIsReproducible(t *testing.T) {
	ctx := context.Background()
	img := testImage()
	img.Debug = Bytes(append([]byte(magicELF), noise(3, 100<<10)...))
	var first map[string]bool
	for i := range 2 {
		s := newStore(t)
		s.now = func() time.Time { return time.Unix(int64(1e9*(i+1)), 0) }
		mustAdd(t, s, img, "kernels:2.6.32", fullOptions())
		got := map[string]bool{}
		files, err := filepath.Glob(filepath.Join(s.dir, "blobs/sha256/*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			got[filepath.Base(f)] = true
		}
		// 6 layers less none, config, manifest, index, {}, SBOM and source with a manifest each.
		if len(got) != 5+3+1+4 {
			t.Errorf("%d blobs, want 13", len(got))
		}
		if i == 0 {
			first = got
			continue
		}
		if fmt.Sprint(first) != fmt.Sprint(got) {
			t.Error("two adds of one image gave different blobs")
		}
		if _, err := s.Resolve(ctx, "kernels:2.6.32"); err != nil {
			t.Error(err)
		}
	}
}

func TestAddKeepsOtherPlatforms(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	amd := mustAdd(t, s, testImage(), "kernels:x", AddOptions{})
	arm := testImage()
	arm.Guest.Architecture = "arm64"
	armDesc := mustAdd(t, s, arm, "kernels:x", AddOptions{})
	newer := testImage()
	newer.Kernel = Bytes(noise(9, 1000))
	amd2 := mustAdd(t, s, newer, "kernels:x", AddOptions{})

	rows, err := s.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, r := range rows {
		digests = append(digests, r.Architecture+" "+r.Digest.String())
	}
	want := []string{"amd64 " + amd2.Digest.String(), "arm64 " + armDesc.Digest.String()}
	if !slices.Equal(digests, want) {
		t.Errorf("the tag has %v, want %v", digests, want)
	}
	if _, err := s.Resolve(ctx, amd.Digest.String()); !errors.Is(err, ErrNotFound) {
		t.Errorf("the replaced image resolves with %v, want ErrNotFound", err)
	}
	if r, err := s.Resolve(ctx, "kernels:x"); err != nil || r.Manifest.Digest != amd2.Digest {
		t.Errorf("Resolve = %v, %v, want the amd64 image", r.Manifest.Digest, err)
	}
	if _, err := s.Resolve(ctx, armDesc.Digest.String()); !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), "linux/arm64") {
		t.Errorf("resolving the arm64 image = %v, want ErrPlatform that names linux/arm64", err)
	}
	other, err := OpenStore(s.Dir(), WithPlatform(ocispec.Platform{OS: "linux", Architecture: "riscv64"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Resolve(ctx, "kernels:x"); !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), "linux/amd64, linux/arm64, want linux/riscv64") {
		t.Errorf("resolving for riscv64 = %v, want ErrPlatform that lists what is there", err)
	}
}

func TestAddRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Image, *AddOptions) string
		want   string
	}{
		"no kernel":     {func(i *Image, _ *AddOptions) string { i.Kernel = FileRef{}; return "a:b" }, "no kernel"},
		"no initrd":     {func(i *Image, _ *AddOptions) string { i.Initrd = FileRef{}; return "a:b" }, "no initrd"},
		"empty kernel":  {func(i *Image, _ *AddOptions) string { i.Kernel = Bytes([]byte{}); return "a:b" }, "layer is empty"},
		"missing file":  {func(i *Image, _ *AddOptions) string { i.Kernel = FileAt("/no/such/file"); return "a:b" }, "add vmlinuz: open /no/such/file"},
		"folder":        {func(i *Image, _ *AddOptions) string { i.Kernel = FileAt("/"); return "a:b" }, "not a regular file"},
		"bad tag":       {func(i *Image, _ *AddOptions) string { return "Kernels:1" }, "names are lower case"},
		"digest as tag": {func(i *Image, _ *AddOptions) string { return "sha256:" + strings.Repeat("a", 64) }, "a tag is wanted here"},
		"bad version":   {func(i *Image, _ *AddOptions) string { i.Guest.Kernel.Version = "new"; return "a:b" }, "kernel.version"},
		"config differs": {func(i *Image, _ *AddOptions) string {
			i.Guest.Provenance.ConfigSHA256 = strings.Repeat("0", 64)
			return "a:b"
		}, "configSHA256"},
		"modules raw": {func(i *Image, _ *AddOptions) string { i.Modules = Bytes([]byte("tar")); return "a:b" }, "not gzip'd"},
		"debug raw":   {func(i *Image, _ *AddOptions) string { i.Debug = Bytes([]byte("text")); return "a:b" }, "neither ELF nor gzip nor zstd"},
		"tarball differs": {func(i *Image, o *AddOptions) string {
			*o = fullOptions()
			o.Source.Tarball = Bytes([]byte("other"))
			return "a:b"
		}, "the source tarball has the wrong content"},
	} {
		t.Run(name, func(t *testing.T) {
			s, img, opts := newStore(t), testImage(), AddOptions{}
			tag := c.change(&img, &opts)
			_, err := s.Add(context.Background(), img, tag, opts)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Add = %v, want an error with %q", err, c.want)
			}
			if rows, err := s.List(context.Background()); err != nil || len(rows) != 0 {
				t.Errorf("List = %v, %v after a failed Add, want nothing", rows, err)
			}
		})
	}
}

func TestReferrers(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	opts := fullOptions()
	opts.Source.TarballSHA256 = ""
	opts.Source.Tarball = Bytes([]byte("the tarball"))
	desc := mustAdd(t, s, testImage(), "kernels:2.6.32", opts)
	in, err := s.Inspect(ctx, "kernels:2.6.32")
	if err != nil {
		t.Fatal(err)
	}
	refs := in.Images[0].Referrers
	if len(refs) != 2 || refs[0].Type != ArtifactTypeSBOM || refs[1].Type != ArtifactTypeSource {
		t.Fatalf("referrers %+v, want SBOM and source", refs)
	}
	rc, err := s.blobs.Fetch(ctx, refs[0].Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	doc, err := spdxjson.Read(rc)
	if err != nil {
		t.Fatalf("the SBOM is no SPDX document: %v", err)
	}
	if !strings.HasSuffix(doc.DocumentNamespace, desc.Digest.Encoded()) || doc.CreationInfo.Created != "2016-03-12T12:00:00Z" {
		t.Errorf("SBOM has namespace %s, time %s", doc.DocumentNamespace, doc.CreationInfo.Created)
	}
	var names []string
	for _, p := range doc.Packages {
		names = append(names, p.PackageName)
	}
	for _, want := range []string{"linux", "linux-source", "gcc5-headers", "guestinit", TitleKernel} {
		if !slices.Contains(names, want) {
			t.Errorf("SBOM has %v, want %s too", names, want)
		}
	}
	source := refs[1].Layers
	if len(source) != 2 || source[1].Annotations[ocispec.AnnotationTitle] != "linux-2.6.32.71.tar.xz" {
		t.Errorf("source layers %+v, want archive and linux-2.6.32.71.tar.xz", source)
	}
	if _, err := json.Marshal(in); err != nil {
		t.Error(err)
	}
}

func TestStoreFolders(t *testing.T) {
	ctx := context.Background()
	t.Run("absent", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		s, err := OpenStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := s.List(ctx); err != nil || rows != nil {
			t.Errorf("List = %v, %v", rows, err)
		}
		if _, err := s.Resolve(ctx, "x"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Resolve = %v, want ErrNotFound", err)
		}
		if _, err := s.GC(ctx, GCOptions{}); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("reading made the folder")
		}
		if err := s.CheckWritable(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("other content", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(dir); !errors.Is(err, ErrNotStore) || !strings.Contains(err.Error(), "thesis.txt") {
			t.Errorf("OpenStore = %v, want ErrNotStore that names thesis.txt", err)
		}
	})
	t.Run("newer layout", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"2.0.0"}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(dir); !errors.Is(err, ErrNotStore) {
			t.Errorf("OpenStore = %v, want ErrNotStore", err)
		}
	})
	t.Run("file in the way", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(filepath.Join(file, "store")); !errors.Is(err, ErrReadOnly) {
			t.Errorf("OpenStore = %v, want ErrReadOnly", err)
		}
	})
}

func TestListAndRemove(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	s.now = func() time.Time { return time.Unix(1700000000, 0) }
	desc := mustAdd(t, s, testImage(), "kernels:2.6.32", fullOptions())
	mustAdd(t, s, testImage(), "other", fullOptions())
	rows, err := s.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 {
		t.Fatalf("%d rows, want 2 (referrers are not listed): %+v", len(rows), rows)
	}
	r := rows[0]
	if r.Name != "kernels:2.6.32" || rows[1].Name != "other:latest" || r.Digest != desc.Digest || r.Kernel != "2.6.32.71" ||
		r.Profile != "2.6.32" || r.Architecture != "amd64" || !r.Added.Equal(time.Unix(1700000000, 0)) || r.Problem != "" || r.Size < 500<<10 {
		t.Errorf("row %+v", r)
	}
	if names, err := s.Remove(ctx, "other"); err != nil || !slices.Equal(names, []string{"other:latest"}) {
		t.Errorf("Remove = %v, %v", names, err)
	}
	if _, err := s.Resolve(ctx, "kernels:2.6.32"); err != nil {
		t.Error(err)
	}
	mustAdd(t, s, testImage(), "again:1", fullOptions())
	names, err := s.Remove(ctx, desc.Digest.Encoded()[:12])
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"again:1", "kernels:2.6.32"}) {
		t.Errorf("Remove by digest = %v, %v, want both names", names, err)
	}
	if _, err := s.Remove(ctx, "kernels:2.6.32"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Remove again = %v, want ErrNotFound", err)
	}
}

func TestRemoveOfOnePlatformByDigest(t *testing.T) {
	s := newStore(t)
	amd := mustAdd(t, s, testImage(), "kernels:x", AddOptions{})
	arm := testImage()
	arm.Guest.Architecture = "arm64"
	mustAdd(t, s, arm, "kernels:x", AddOptions{})
	if _, err := s.Remove(context.Background(), amd.Digest.String()); err == nil || !strings.Contains(err.Error(), "one of 2 platforms of kernels:x") {
		t.Errorf("Remove = %v, want an error that names kernels:x", err)
	}
}
