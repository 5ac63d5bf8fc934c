package initrd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/runv-legacy/runv-legacy/initrd/internal/guestbuild"
)

// lockPoll is how often a process looks whether another has ended its build,
// which takes many seconds.
const lockPoll = 100 * time.Millisecond

// MakeEmbedded builds the guest's programs of a checkout into its
// initrd/embedded, for the next build of the host programs. Those that are up
// to date are left alone. progress, if not nil, is told each file's name, size
// and whether it was built.
func MakeEmbedded(ctx context.Context, checkout string, progress func(name string, size int, built bool)) error {
	if !guestbuild.IsCheckout(checkout) {
		return fmt.Errorf("make embedded programs: %s is not a checkout of this project (no go.mod of it)", checkout)
	}
	for _, t := range []guestbuild.Target{guestbuild.GuestInit(), guestbuild.Programs()} {
		size, built, err := makeEmbedded(ctx, checkout, t)
		if err != nil {
			return fmt.Errorf("make embedded programs: %w", err)
		}
		if progress != nil {
			progress(t.Output, size, built)
		}
	}
	return nil
}

func makeEmbedded(ctx context.Context, checkout string, t guestbuild.Target) (size int, built bool, err error) {
	dir := filepath.Join(checkout, "initrd", "embedded")
	digest, err := t.SourcesDigest(checkout)
	if err != nil {
		return 0, false, err
	}
	stampFile, file := filepath.Join(dir, t.Stamp()), filepath.Join(dir, t.Output)
	stamp, err := os.ReadFile(stampFile)
	if err == nil && string(stamp) == digest+"\n" {
		if info, err := os.Stat(file); err == nil {
			return int(info.Size()), false, nil
		}
	}
	data, err := cached(ctx, checkout, t, digest)
	if err != nil {
		return 0, false, err
	}
	// The stamp is taken away first and comes last: one that is there tells
	// the truth even if this is interrupted.
	if err := os.Remove(stampFile); err != nil && !os.IsNotExist(err) {
		return 0, false, fmt.Errorf("replace %s: %w", t.Output, err)
	}
	if err := renameio.WriteFile(file, data, 0o644); err != nil {
		return 0, false, fmt.Errorf("write %s: %w", t.Output, err)
	}
	if err := renameio.WriteFile(stampFile, []byte(digest+"\n"), 0o644); err != nil {
		return 0, false, fmt.Errorf("write %s: %w", t.Stamp(), err)
	}
	return len(data), true, nil
}

// output is what is embedded of a target.
func output(ctx context.Context, checkout string, t guestbuild.Target) ([]byte, error) {
	binary, err := t.Compile(ctx, checkout)
	if err != nil {
		return nil, err
	}
	if t.Name == guestbuild.Programs().Name {
		return packPrograms(checkout, binary)
	}
	return binary, nil
}
