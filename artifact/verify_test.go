package artifact

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestVerifyNamesTheDamage(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		damage func(t *testing.T, s *Store, in Inspection)
		want   string
		is     error
	}{
		"flipped bit": {func(t *testing.T, s *Store, in Inspection) {
			path := blobPath(t, s, in.Images[0].Layers[0].Digest)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data[1000] ^= 1
			overwrite(t, path, data)
		}, "wrong content", ErrCorrupt},
		"truncated": {func(t *testing.T, s *Store, in Inspection) {
			overwrite(t, blobPath(t, s, in.Images[0].Layers[1].Digest), []byte("short"))
		}, "5 bytes of", ErrCorrupt},
		"missing": {func(t *testing.T, s *Store, in Inspection) {
			if err := os.Remove(blobPath(t, s, in.Images[0].Layers[2].Digest)); err != nil {
				t.Fatal(err)
			}
		}, "no such file", os.ErrNotExist},
		"a link": {func(t *testing.T, s *Store, in Inspection) {
			path := blobPath(t, s, in.Images[0].Layers[0].Digest)
			if err := os.Rename(path, path+"x"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path+"x", path); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file", ErrCorrupt},
		"manifest": {func(t *testing.T, s *Store, in Inspection) {
			overwrite(t, blobPath(t, s, in.Images[0].Manifest.Digest), []byte("{}"))
		}, "2 bytes of", ErrCorrupt},
		"sbom": {func(t *testing.T, s *Store, in Inspection) {
			overwrite(t, blobPath(t, s, in.Images[0].Referrers[0].Layers[0].Digest), []byte("{}"))
		}, "application/spdx+json", ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			mustAdd(t, s, testImage(), "kernels:x", fullOptions())
			mustVerify(t, s)
			in, err := s.Inspect(ctx, "kernels:x")
			if err != nil {
				t.Fatal(err)
			}
			c.damage(t, s, in)
			r, err := s.Verify(ctx, "kernels:x")
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Problems) != 1 || !strings.Contains(r.Err().Error(), c.want) || !errors.Is(r.Err(), c.is) ||
				!strings.Contains(r.Err().Error(), "kernels:x") || !strings.HasSuffix(r.Err().Error(), mendBlob) {
				t.Fatalf("Verify found %v, want one problem with %q and the mend", r.Err(), c.want)
			}
			// The mend that the error names does mend.
			mustAdd(t, s, testImage(), "kernels:x", fullOptions())
			mustVerify(t, s)
		})
	}
}

func TestVerifyFindsContradictions(t *testing.T) {
	ctx := context.Background()
	t.Run("index says another platform", func(t *testing.T) {
		s := newStore(t)
		m, blobs := guestParts(t, testGuest())
		desc := plant(t, s, "m:1", m, ocispec.MediaTypeImageManifest, blobs)
		desc.Annotations = nil
		desc.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64"}
		x := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{desc}}
		x.SchemaVersion = 2
		plant(t, s, "x:1", x, ocispec.MediaTypeImageIndex, nil)
		r, err := s.Verify(ctx, "x:1")
		if err != nil || len(r.Problems) != 1 || !errors.Is(r.Err(), ErrInvalid) || !strings.Contains(r.Err().Error(), "linux/arm64") {
			t.Errorf("Verify = %v, %v", r.Err(), err)
		}
		if _, err := s.Files(ctx, "x:1"); err == nil {
			t.Error("Files gave an image that the index calls arm64")
		}
	})
	t.Run("config names another .config", func(t *testing.T) {
		s := newStore(t)
		g := testGuest()
		g.Provenance.ConfigSHA256 = strings.Repeat("0", 64)
		m, blobs := guestParts(t, g)
		kconfig := []byte("CONFIG_X86=y\n")
		blobs[digest.FromBytes(kconfig)] = kconfig
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: MediaTypeKConfig, Digest: digest.FromBytes(kconfig), Size: int64(len(kconfig))})
		plant(t, s, "x:1", m, ocispec.MediaTypeImageManifest, blobs)
		r, err := s.Verify(ctx, "x:1")
		if err != nil || !errors.Is(r.Err(), ErrInvalid) || !strings.Contains(r.Err().Error(), "configSHA256") {
			t.Errorf("Verify = %v, %v", r.Err(), err)
		}
	})
}

func TestFilesRemembersVerification(t *testing.T) {
	ctx := context.Background()
	first := newStore(t)
	mustAdd(t, first, testImage(), "kernels:x", AddOptions{})
	s, err := OpenStore(first.Dir()) // another process
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.Files(ctx, "kernels:x")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(files.Kernel); err != nil || !bytes.Equal(data, testImage().Kernel.Data) {
		t.Errorf("the kernel's file has other content (%v)", err)
	}
	desc := files.Layers[0]
	fi, err := os.Lstat(files.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	st, _ := stampOf(fi)
	if !s.blobs.known(desc.Digest, st) {
		t.Error("the verification at Add is not remembered")
	}
	// A change in place that keeps size and modification time is still seen.
	data := noise(77, int(desc.Size))
	overwrite(t, files.Kernel, data)
	if err := os.Chtimes(files.Kernel, fi.ModTime(), fi.ModTime()); err != nil {
		t.Fatal(err)
	}
	var de *DigestError
	if _, err := s.Files(ctx, "kernels:x"); !errors.As(err, &de) || de.Blob != desc.Digest {
		t.Errorf("Files = %v, want a *DigestError of the kernel", err)
	}
}

func TestExtract(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	img := testImage()
	img.Debug = Bytes(append([]byte(magicELF), 1, 2, 3))
	mustAdd(t, s, img, "kernels:x", AddOptions{})
	dir := filepath.Join(t.TempDir(), "out")
	written, err := s.Extract(ctx, "kernels:x", dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range written {
		names = append(names, filepath.Base(w))
	}
	if want := []string{TitleGuest, TitleKernel, TitleInitrd, TitleKConfig, TitleSystemMap, TitleDebug}; !slices.Equal(names, want) {
		t.Errorf("wrote %v, want %v", names, want)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(names) {
		t.Errorf("%d entries in the folder, want %d: the staging folder is left", len(entries), len(names))
	}
	if data, _ := os.ReadFile(filepath.Join(dir, TitleKernel)); !bytes.Equal(data, img.Kernel.Data) {
		t.Error("vmlinuz has other content")
	}
	if _, err := s.Extract(ctx, "kernels:x", dir, "nothing"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "vmlinuz, initrd.img") {
		t.Errorf("Extract of an unknown file = %v, want what there is", err)
	}
	// A link in the folder is replaced, not followed.
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, TitleKernel)
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Extract(ctx, "kernels:x", dir, TitleKernel); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(victim); string(data) != "mine" {
		t.Error("Extract wrote through a symbolic link")
	}
}

func TestExtractWritesNothingOfADamagedImage(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	mustAdd(t, s, testImage(), "kernels:x", AddOptions{})
	r, err := s.Resolve(ctx, "kernels:x")
	if err != nil {
		t.Fatal(err)
	}
	last := r.Layers[len(r.Layers)-1]
	overwrite(t, blobPath(t, s, last.Digest), noise(5, int(last.Size)))
	dir := t.TempDir()
	if _, err := s.Extract(ctx, "kernels:x", dir); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("Extract = %v, want ErrCorrupt", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("Extract left %v", entries)
	}
}

func TestHostileTitles(t *testing.T) {
	ctx := context.Background()
	for _, title := range []string{
		"/etc/passwd", "../up", "..", ".", ".bashrc", "a/b", `a\b`, "a\x00b", "a\nb", "a\x1b[31m", "-rf", "guest.json", "GUEST.JSON",
		"con", "nul.txt", "COM1", "lpt9.log", "a b", "end.", "ünï", "a:b", strings.Repeat("a", 129), "\u202egnp.exe",
	} {
		if err := CheckTitle(title); !errors.Is(err, ErrTitle) {
			t.Errorf("CheckTitle(%q) = %v, want ErrTitle", title, err)
		}
		s := newStore(t)
		m, blobs := guestParts(t, testGuest())
		m.Layers[0].Annotations[ocispec.AnnotationTitle] = title
		plant(t, s, "evil:1", m, ocispec.MediaTypeImageManifest, blobs)
		dir := t.TempDir()
		if _, err := s.Extract(ctx, "evil:1", dir); !errors.Is(err, ErrTitle) {
			t.Errorf("Extract with the title %q = %v, want ErrTitle", title, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("Extract with the title %q left %v", title, entries)
		}
	}
	for _, title := range []string{TitleKernel, TitleInitrd, TitleSystemMap, TitleModules, "vmlinuz-2.6.32", "console.log", "comic", "null"} {
		if err := CheckTitle(title); err != nil {
			t.Errorf("CheckTitle(%q) = %v", title, err)
		}
	}
}

func TestUnknownLayersAreIgnored(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	m, blobs := guestParts(t, testGuest())
	extra := []byte("other")
	blobs[digest.FromBytes(extra)] = extra
	m.Layers = append(m.Layers, ocispec.Descriptor{
		MediaType: "application/vnd.example.new.v1", Digest: digest.FromBytes(extra), Size: int64(len(extra)),
		Annotations: map[string]string{ocispec.AnnotationTitle: "../../evil"},
	})
	plant(t, s, "new:1", m, ocispec.MediaTypeImageManifest, blobs)
	dir := t.TempDir()
	written, err := s.Extract(ctx, "new:1", dir)
	if err != nil || len(written) != 3 {
		t.Errorf("Extract = %v, %v, want config, kernel and initrd", written, err)
	}
}
