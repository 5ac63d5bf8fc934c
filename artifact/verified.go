package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// stamp is what a file looked like when it was verified. The change time cannot
// be set by utimes(2), so a file that was rewritten in place does not pass.
type stamp struct {
	Inode        uint64
	Size         int64
	Mtime, Ctime int64 // nanoseconds
}

func stampOf(fi fs.FileInfo) (stamp, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, false
	}
	return stamp{Inode: st.Ino, Size: fi.Size(), Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()}, true
}

func (s stamp) String() string {
	return fmt.Sprintf("%d %d %d %d\n", s.Inode, s.Size, s.Mtime, s.Ctime)
}

func (b *blobs) stampPath(d digest.Digest) string {
	return filepath.Join(b.dir, "verified", d.Algorithm().String(), d.Encoded())
}

// remember notes that a blob was verified, for this process and for later ones.
// The note is an optimisation: a store that cannot be written keeps it in memory
// only, and a note that a crash left empty is read as no note, so it is not
// synced.
func (b *blobs) remember(desc ocispec.Descriptor, path string) {
	fi, err := os.Lstat(path)
	if err != nil {
		return
	}
	s, ok := stampOf(fi)
	if !ok {
		return
	}
	b.mu.Lock()
	b.verified[desc.Digest] = s
	b.mu.Unlock()
	b.writeStamp(desc.Digest, s)
}

func (b *blobs) writeStamp(d digest.Digest, s stamp) {
	target := b.stampPath(d)
	if os.MkdirAll(filepath.Dir(target), 0o755) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(target), ".tmp-*")
	if err != nil {
		return
	}
	_, werr := f.WriteString(s.String())
	cerr := f.Close()
	if werr != nil || cerr != nil || os.Rename(f.Name(), target) != nil {
		os.Remove(f.Name())
	}
}

// ensure verifies a blob unless the same file was verified before. It returns
// the blob's path.
func (b *blobs) ensure(ctx context.Context, desc ocispec.Descriptor) (string, error) {
	path, err := b.path(desc.Digest)
	if err != nil {
		return "", err
	}
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("blob %s is not in store %s: %w; %s", desc.Digest, b.dir, ErrIncomplete, mendBlob)
	}
	if err != nil {
		return "", err
	}
	if s, ok := stampOf(fi); ok && fi.Mode().IsRegular() && fi.Size() == desc.Size && b.known(desc.Digest, s) {
		return path, nil
	}
	return path, b.rehash(ctx, desc)
}

func (b *blobs) known(d digest.Digest, s stamp) bool {
	b.mu.Lock()
	have, ok := b.verified[d]
	b.mu.Unlock()
	if ok && have == s {
		return true
	}
	data, err := os.ReadFile(b.stampPath(d))
	if err != nil || string(data) != s.String() {
		return false
	}
	b.mu.Lock()
	b.verified[d] = s
	b.mu.Unlock()
	return true
}

// rehash reads a blob and compares its digest, whatever is remembered.
func (b *blobs) rehash(ctx context.Context, desc ocispec.Descriptor) error {
	path, err := b.path(desc.Digest)
	if err != nil {
		return err
	}
	before, err := os.Lstat(path)
	if err != nil {
		return err
	}
	rc, err := b.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer rc.Close()
	if _, err := io.Copy(io.Discard, rc); err != nil {
		b.forget(desc.Digest)
		return err
	}
	// A file that changed while it was read is verified again the next time.
	after, err := os.Lstat(path)
	if err != nil {
		return err
	}
	s1, ok1 := stampOf(before)
	s2, ok2 := stampOf(after)
	if ok1 && ok2 && s1 == s2 {
		b.remember(desc, path)
	}
	return nil
}

func (b *blobs) forget(d digest.Digest) {
	b.mu.Lock()
	delete(b.verified, d)
	b.mu.Unlock()
	os.Remove(b.stampPath(d))
}
