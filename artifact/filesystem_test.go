package artifact

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runv-legacy/runv-legacy/artifact/registrytest"
)

// smallDisk mounts a tmpfs of 256 KiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("cannot mount a small tmpfs (%v): not tested with a full or read-only disk; run as root", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(smallDisk(t), "store")
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	small := testImage()
	small.Kernel, small.Initrd = Bytes([]byte("k")), Bytes([]byte("i"))
	mustAdd(t, s, small, "small:1", AddOptions{})
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "kbuild gc") {
			t.Errorf("%s = %v, want ErrNoSpace with folder and mend", what, err)
		}
		entries, err := os.ReadDir(s.blobs.ingestDir())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "tmp-") {
				t.Errorf("%s left %s", what, e.Name())
			}
		}
		mustVerify(t, s)
	}
	_, err = s.Add(ctx, testImage(), "big:1", AddOptions{})
	check("Add", err)

	reg, from := registrytest.NewMemory(t), newStore(t)
	mustAdd(t, from, testImage(), "big:1", AddOptions{})
	mustPush(t, from, "big:1", reg.Addr+"/big:1", quick())
	_, err = s.Pull(ctx, reg.Addr+"/big:1", quick(), nil)
	check("Pull", err)
	if rows, err := s.List(ctx); err != nil || len(rows) != 1 {
		t.Errorf("List = %v, %v, want small:1 only", rows, err)
	}
	// What the error names as the mend makes room again.
	if _, err := s.GC(ctx, GCOptions{KeepPartial: -1}); err != nil {
		t.Errorf("GC on a full disk: %v", err)
	}
	mustAdd(t, s, small, "small:2", AddOptions{})
}

func TestReadOnlyDisk(t *testing.T) {
	ctx := context.Background()
	dir := smallDisk(t)
	s, err := OpenStore(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	img := testImage()
	img.Kernel, img.Initrd = Bytes([]byte("k")), Bytes([]byte("i"))
	mustAdd(t, s, img, "small:1", AddOptions{})
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s, err = OpenStore(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Files(ctx, "small:1"); err != nil {
		t.Errorf("Files = %v: reading needs no writing", err)
	}
	if _, err := s.Extract(ctx, "small:1", t.TempDir()); err != nil {
		t.Errorf("Extract = %v: reading needs no writing", err)
	}
	mustVerify(t, s)
	_, addErr := s.Add(ctx, img, "small:2", AddOptions{})
	_, removeErr := s.Remove(ctx, "small:1")
	for what, err := range map[string]error{"CheckWritable": s.CheckWritable(ctx), "Add": addErr, "Remove": removeErr} {
		if !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), "RUNV_LEGACY_STORE") {
			t.Errorf("%s = %v, want ErrReadOnly with the mend", what, err)
		}
	}
	empty, err := OpenStore(filepath.Join(dir, "none"))
	if err != nil {
		t.Fatal(err)
	}
	if err := empty.CheckWritable(ctx); !errors.Is(err, ErrReadOnly) {
		t.Errorf("CheckWritable of an absent store = %v, want ErrReadOnly", err)
	}
}
