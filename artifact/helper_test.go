package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func testGuest() Guest {
	acpi := true
	return Guest{
		SchemaVersion: 1,
		Kernel:        KernelInfo{Version: "2.6.32.71", Release: "2.6.32.71-runv"},
		OS:            "linux", Architecture: "amd64", Profile: "2.6.32",
		Features: []string{"9p", "virtio-console"},
		Boot:     Boot{Append: []string{"panic=-1", "quiet"}, Console: "ttyS0"},
		Machine:  Machine{Type: "pc", Virtio: "legacy", CPU: "qemu64,+ssse3", ACPI: &acpi, MinMemoryMiB: 48, MaxVCPUs: 8},
		Provenance: Provenance{
			Source: Source{
				URL:          "https://cdn.kernel.org/pub/linux/kernel/v2.6/longterm/v2.6.32/linux-2.6.32.71.tar.xz",
				Digest:       "sha256:60a5ffe0206a0ea8997c29ccc595aa7dae55f6cb20c7d92aab88029ca4fef598",
				Verification: "sha256",
			},
			Patches:       []Patch{{ID: "gcc5-headers", SHA256: strings.Repeat("ab", 32), Mainline: "cb984d101b30"}},
			BackportSets:  []string{"toolchain"},
			Compiler:      "gcc (Debian 12.2.0-14) 12.2.0",
			KbuildVersion: "0.1.0",
		},
	}
}

// noise is incompressible and always the same.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	return out
}

func testImage() Image {
	return Image{
		Guest: testGuest(), Kernel: Bytes(noise(1, 300<<10)), Initrd: Bytes(noise(2, 200<<10)),
		Config: Bytes([]byte("CONFIG_X86=y\n")), SystemMap: Bytes([]byte("ffffffff81000000 T _text\n")),
	}
}

func fullOptions() AddOptions {
	return AddOptions{
		Created: time.Unix(1457784000, 0),
		Source: &CorrespondingSource{
			TarballURL:    testGuest().Provenance.Source.URL,
			TarballSHA256: "60a5ffe0206a0ea8997c29ccc595aa7dae55f6cb20c7d92aab88029ca4fef598",
			Patches:       []SourceFile{{Name: "0001-gcc5-headers.patch", Data: []byte("--- a/x\n+++ b/x\n")}},
			Build:         "make oldconfig\nmake bzImage",
		},
	}
}

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustAdd(t testing.TB, s *Store, img Image, tag string, opts AddOptions) ocispec.Descriptor {
	t.Helper()
	d, err := s.Add(context.Background(), img, tag, opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustVerify(t testing.TB, s *Store) VerifyReport {
	t.Helper()
	r, err := s.Verify(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return r
}

func blobPath(t testing.TB, s *Store, d digest.Digest) string {
	t.Helper()
	p, err := s.blobs.path(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func overwrite(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// guestParts are the documents of an artifact that a test then makes hostile.
func guestParts(t testing.TB, g Guest) (manifest ocispec.Manifest, blobs map[digest.Digest][]byte) {
	t.Helper()
	config, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	blobs = map[digest.Digest][]byte{}
	add := func(mediaType, title string, data []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
		if title != "" {
			d.Annotations = map[string]string{ocispec.AnnotationTitle: title}
		}
		blobs[d.Digest] = data
		return d
	}
	manifest = ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ArtifactType}
	manifest.SchemaVersion = 2
	manifest.Config = add(MediaTypeConfig, "", config)
	manifest.Layers = []ocispec.Descriptor{
		add(MediaTypeKernel, TitleKernel, []byte("kernel")), add(MediaTypeInitrd, TitleInitrd, []byte("initrd")),
	}
	return manifest, blobs
}

// plant puts an artifact into a store as another program would: unchecked.
func plant(t testing.TB, s *Store, tag string, m any, mediaType string, blobs map[digest.Digest][]byte) ocispec.Descriptor {
	t.Helper()
	ctx := context.Background()
	if err := s.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for d, b := range blobs {
		if err := s.blobs.Push(ctx, ocispec.Descriptor{Digest: d, Size: int64(len(b))}, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := s.blobs.Push(ctx, desc, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	err = s.updateIndex(ctx, func(top *Index) error {
		s.setTag(top, tag, desc)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return desc
}
