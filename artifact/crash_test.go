package artifact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

const crashStore = "RUNV_LEGACY_TEST_CRASH_STORE"

// TestKilledWriter kills a process at many points of Add, and looks at what it left.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv(crashStore); dir != "" {
		writeUntilKilled(t, dir)
		return
	}
	ctx := context.Background()
	dir := t.TempDir()
	for round := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledWriter$")
		cmd.Env = append(os.Environ(), crashStore+"="+dir)
		// An Add stores 13 blobs, so each round dies after another one of them.
		s, err := OpenStore(dir)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		want := countBlobs(t, s) + round
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for countBlobs(t, s) < want {
			runtime.Gosched()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		mustVerify(t, s)
		if _, err := s.GC(ctx, GCOptions{}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if left, err := os.ReadDir(s.blobs.ingestDir()); err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) != 0 {
			t.Errorf("round %d: %d files are left in ingest, %v", round, len(left), err)
		}
	}
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, s, testImage(), "after:1", AddOptions{})
	mustVerify(t, s)
}

func writeUntilKilled(t *testing.T, dir string) {
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(0); ; i++ {
		img := testImage()
		img.Kernel = Bytes(noise(uint64(os.Getpid())+i, 100<<10))
		if _, err := s.Add(context.Background(), img, fmt.Sprintf("a:%d", i), fullOptions()); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkFiles is what a start of a guest pays for verified files.
func BenchmarkFiles(b *testing.B) {
	s := newStore(b)
	img := testImage()
	img.Kernel, img.Initrd = Bytes(noise(1, 3<<20)), Bytes(noise(2, 3<<20))
	mustAdd(b, s, img, "kernels:x", fullOptions())
	b.Run("same process", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Files(context.Background(), "kernels:x"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new process", func(b *testing.B) {
		for b.Loop() {
			fresh, err := OpenStore(s.Dir())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := fresh.Files(context.Background(), "kernels:x"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
