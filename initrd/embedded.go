package initrd

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"

	"github.com/runv-legacy/runv-legacy/initrd/internal/guestbuild"
)

// embedded holds what `make` built for the guest; in a fresh clone only the
// README. "all:" because a pattern that matches no file does not compile.
//
//go:embed all:embedded
var embedded embed.FS

// GuestInit is the static guestinit binary, process 1 of a guest.
//
// It is the one inside this program. Run from a checkout whose sources differ
// from those it was built from, it is built from the checkout instead, once per
// state of the sources.
func GuestInit(ctx context.Context) ([]byte, error) {
	return program(ctx, guestbuild.GuestInit())
}

// Programs is a gzip'd archive, as [Build] makes them, of a shell and small
// commands. The kernel unpacks it behind the initrd; `kbuild boot` uses it
// where the user names no root file system.
//
// Like [GuestInit] it is inside this program or built from the checkout.
func Programs(ctx context.Context) ([]byte, error) {
	return program(ctx, guestbuild.Programs())
}

func program(ctx context.Context, t guestbuild.Target) ([]byte, error) {
	root, inCheckout := guestbuild.Root()
	built, stamp := embeddedProgram(t)
	if !inCheckout {
		if built == nil {
			return nil, fmt.Errorf("%w: this program was built without %s; build it with make", ErrNoProgram, t.Name)
		}
		return built, nil
	}
	digest, err := t.SourcesDigest(root)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoProgram, err)
	}
	if built != nil && stamp == digest {
		return built, nil
	}
	data, err := cached(ctx, root, t, digest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; or run make", ErrNoProgram, err)
	}
	return data, nil
}

func embeddedProgram(t guestbuild.Target) (data []byte, stamp string) {
	data, err := embedded.ReadFile(path.Join("embedded", t.Output))
	if err != nil {
		return nil, ""
	}
	s, err := embedded.ReadFile(path.Join("embedded", t.Stamp()))
	if err != nil {
		return data, ""
	}
	return data, strings.TrimSpace(string(s))
}

// cached builds a program into the user's cache unless it is there. Several
// processes may ask at once: one builds.
func cached(ctx context.Context, root string, t guestbuild.Target, digest string) ([]byte, error) {
	dir, err := cacheDir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cache folder for guest programs: %w", err)
	}
	file := filepath.Join(dir, t.Name+"-"+strings.TrimPrefix(digest, "sha256:"))
	if data, err := os.ReadFile(file); err == nil {
		return data, nil
	}
	lock := flock.New(file + ".lock")
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	defer lock.Unlock()
	if data, err := os.ReadFile(file); err == nil {
		return data, nil
	}
	data, err := output(ctx, root, t)
	if err != nil {
		return nil, err
	}
	if err := renameio.WriteFile(file, data, 0o644); err != nil {
		return nil, fmt.Errorf("keep %s in the cache: %w", t.Name, err)
	}
	return data, nil
}

// cacheDir is where `kbuild` keeps its caches, too.
func cacheDir() (string, error) {
	if dir := os.Getenv("RUNV_LEGACY_CACHE"); dir != "" {
		return filepath.Join(dir, "guest-programs"), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache folder: %w; set RUNV_LEGACY_CACHE", err)
	}
	return filepath.Join(dir, "runv-legacy", "guest-programs"), nil
}
