package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestGC(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	mustAdd(t, s, testImage(), "keep:1", fullOptions())
	before := countBlobs(t, s)
	img := testImage()
	img.Kernel = Bytes(noise(7, 50<<10))
	mustAdd(t, s, img, "drop:1", fullOptions())
	if r, err := s.GC(ctx, GCOptions{}); err != nil || r != (GCReport{}) {
		t.Fatalf("GC = %+v, %v with all in use, want nothing removed", r, err)
	}
	if _, err := s.Remove(ctx, "drop:1"); err != nil {
		t.Fatal(err)
	}
	dry, err := s.GC(ctx, GCOptions{DryRun: true})
	if err != nil || dry.Blobs == 0 {
		t.Fatalf("dry run = %+v, %v", dry, err)
	}
	if r, err := s.GC(ctx, GCOptions{KeepBlobs: time.Hour}); err != nil || r.Blobs != 0 || r.Freed != 0 {
		t.Errorf("GC within the grace = %+v, %v, want no blob removed", r, err)
	}
	r, err := s.GC(ctx, GCOptions{})
	// Kernel, manifest, index, SBOM and its manifest, source's manifest; the
	// source archive and the config are shared with what stays.
	if err != nil || r.Blobs != dry.Blobs || r.Freed != dry.Freed || r.Freed < 50<<10 || r.Blobs != 6 {
		t.Errorf("GC = %+v, %v, want 6 blobs and over 50 KiB", r, err)
	}
	if after := countBlobs(t, s); after != before {
		t.Errorf("%d blobs are left, want %d", after, before)
	}
	mustVerify(t, s)
	in, err := s.Inspect(ctx, "keep:1")
	if err != nil || len(in.Images[0].Referrers) != 2 {
		t.Errorf("after GC: %+v, %v, want both referrers", in, err)
	}
}

func countBlobs(t *testing.T, s *Store) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "blobs/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestGCSweepsWhatACrashLeft(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	mustAdd(t, s, testImage(), "keep:1", AddOptions{})
	hexes := strings.Repeat("a", 64)
	old := time.Now().Add(-48 * time.Hour)
	for name, age := range map[string]time.Time{
		"tmp-1": time.Now(), "sha256-" + hexes + ".part": old, "sha256-b" + hexes[1:] + ".part": time.Now(), "other": old,
	} {
		path := filepath.Join(s.blobs.ingestDir(), name)
		if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, age, age); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.GC(ctx, GCOptions{})
	if err != nil || r.Partial != 2 || r.Freed != 10 {
		t.Errorf("GC = %+v, %v, want the temporary file and the old download gone", r, err)
	}
	for _, kept := range []string{"sha256-b" + hexes[1:] + ".part", "other"} {
		if _, err := os.Stat(filepath.Join(s.blobs.ingestDir(), kept)); err != nil {
			t.Errorf("%s is gone: %v", kept, err)
		}
	}
}

func TestGCRefusesWhatItCannotRead(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	desc := mustAdd(t, s, testImage(), "keep:1", AddOptions{})
	before := countBlobs(t, s)
	overwrite(t, blobPath(t, s, desc.Digest), noise(1, int(desc.Size)))
	if _, err := s.GC(ctx, GCOptions{}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "keep:1") {
		t.Errorf("GC = %v, want ErrCorrupt that names keep:1", err)
	}
	if after := countBlobs(t, s); after != before {
		t.Errorf("%d blobs are left of %d", after, before)
	}
	if _, err := s.Remove(ctx, "keep:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GC(ctx, GCOptions{}); err != nil || countBlobs(t, s) != 0 {
		t.Errorf("GC after rm = %v, %d blobs left", err, countBlobs(t, s))
	}
}

// Several stores on one folder stand for several processes: flock is by open file.
func TestConcurrentUse(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	stop := make(chan struct{})
	var collectors, writers sync.WaitGroup
	collectors.Go(func() {
		s, err := OpenStore(dir)
		if err != nil {
			t.Error(err)
			return
		}
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.GC(ctx, GCOptions{KeepPartial: -1}); err != nil {
				t.Errorf("GC: %v", err)
			}
			if _, err := s.List(ctx); err != nil {
				t.Errorf("List: %v", err)
			}
		}
	})
	const writersN, each = 4, 3
	for w := range writersN {
		writers.Go(func() {
			s, err := OpenStore(dir)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range each {
				img := testImage()
				img.Kernel = Bytes(noise(uint64(100+w*10+i), 2000))
				name := fmt.Sprintf("w%d:%d", w, i)
				if _, err := s.Add(ctx, img, name, AddOptions{}); err != nil {
					t.Errorf("Add: %v", err)
					continue
				}
				if _, err := s.Files(ctx, name); err != nil {
					t.Errorf("Files: %v", err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	collectors.Wait()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r := mustVerify(t, s); r.Images != writersN*each {
		t.Errorf("%d images, want %d", r.Images, writersN*each)
	}
}

func TestHoldKeepsGCAway(t *testing.T) {
	s := newStore(t)
	mustAdd(t, s, testImage(), "a:1", AddOptions{})
	release, err := s.Hold(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.GC(ctx, GCOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("GC while held = %v, want to wait until its deadline", err)
	}
	release()
	if _, err := s.GC(context.Background(), GCOptions{}); err != nil {
		t.Error(err)
	}
}

func TestGCLeavesForeignImages(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	config := []byte(`{"architecture":"amd64"}`)
	m := ocispec.Manifest{MediaType: "application/vnd.docker.distribution.manifest.v2+json", Layers: []ocispec.Descriptor{}}
	m.SchemaVersion = 2
	m.Config = ocispec.Descriptor{MediaType: "application/vnd.docker.container.image.v1+json", Digest: digest.FromBytes(config), Size: int64(len(config))}
	plant(t, s, "docker:1", m, m.MediaType, map[digest.Digest][]byte{m.Config.Digest: config})
	if r, err := s.GC(ctx, GCOptions{}); err != nil || r.Blobs != 0 {
		t.Errorf("GC = %+v, %v, want nothing removed", r, err)
	}
	rows, err := s.List(ctx)
	if err != nil || len(rows) != 1 || rows[0].Problem == "" {
		t.Errorf("List = %+v, %v, want one row with a problem", rows, err)
	}
}
