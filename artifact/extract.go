package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Extract writes an image's files, under their titles, into dir, and its config
// as guest.json. With names it writes only these. It returns the paths written.
//
// All files are verified and on disk before the first one gets its name; files
// of the same names are replaced, symbolic links there are not followed. A title
// that could leave dir or is no plain file name is refused, wrapping ErrTitle.
func (s *Store) Extract(ctx context.Context, ref, dir string, names ...string) ([]string, error) {
	release, err := s.Hold(ctx)
	if errors.Is(err, ErrReadOnly) || errors.Is(err, os.ErrNotExist) {
		release, err = func() {}, nil // nobody can be collecting a store that cannot be locked
	}
	if err != nil {
		return nil, err
	}
	defer release()
	t, err := s.lookupAny(ctx, ref)
	if err != nil {
		return nil, err
	}
	r, err := s.resolve(ctx, ref, t, false)
	if err != nil {
		return nil, err
	}
	m, err := s.manifest(ctx, r.Manifest)
	if err != nil {
		return nil, err
	}
	files, err := chooseFiles(m, names)
	if err != nil {
		return nil, fmt.Errorf("extract %s: %w", ref, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("extract %s: %w", ref, err)
	}
	written, err := s.extractFiles(ctx, dir, files)
	if err != nil {
		return nil, fmt.Errorf("extract %s to %s: %w", ref, dir, err)
	}
	return written, nil
}

type namedBlob struct {
	title string
	desc  ocispec.Descriptor
}

// chooseFiles gives each known layer its name. Layers of unknown types are
// another program's business.
func chooseFiles(m Manifest, names []string) ([]namedBlob, error) {
	rules := layerRules()
	all := []namedBlob{{TitleGuest, m.Config}}
	for _, l := range m.Layers {
		if _, known := rules[l.MediaType]; !known {
			continue
		}
		title := l.Annotations[ocispec.AnnotationTitle]
		if title == "" {
			title = defaultTitle(l.MediaType)
		}
		if err := CheckTitle(title); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(b namedBlob) bool { return b.title == title }) {
			return nil, fmt.Errorf("%w %q: it is there twice", ErrTitle, title)
		}
		all = append(all, namedBlob{title, l})
	}
	if len(names) == 0 {
		return all, nil
	}
	var chosen []namedBlob
	for _, name := range names {
		i := slices.IndexFunc(all, func(b namedBlob) bool { return b.title == name })
		if i < 0 {
			have := make([]string, len(all))
			for j, b := range all {
				have[j] = b.title
			}
			return nil, fmt.Errorf("file %q: %w; the image has %s", name, ErrNotFound, strings.Join(have, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func defaultTitle(mediaType string) string {
	return map[string]string{
		MediaTypeKernel: TitleKernel, MediaTypeInitrd: TitleInitrd, MediaTypeKConfig: TitleKConfig,
		MediaTypeSystemMap: TitleSystemMap, MediaTypeModules: TitleModules,
		MediaTypeDebug: TitleDebug, MediaTypeDebugZstd: TitleDebugZstd,
	}[mediaType]
}

// extractFiles stages in a folder inside dir, so that a rename is enough. os.Root
// keeps every name inside it, whatever links are made there meanwhile.
func (s *Store) extractFiles(ctx context.Context, dir string, files []namedBlob) (written []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	stage, err := os.MkdirTemp(dir, ".extract-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(stage)
	stage = filepath.Base(stage)
	for _, f := range files {
		if err := s.extractBlob(ctx, root, filepath.Join(stage, f.title), f.desc); err != nil {
			return nil, fmt.Errorf("%s: %w", f.title, err)
		}
	}
	for _, f := range files {
		if err := root.Rename(filepath.Join(stage, f.title), f.title); err != nil {
			return written, err
		}
		written = append(written, filepath.Join(dir, f.title))
	}
	return written, syncDir(dir)
}

func (s *Store) extractBlob(ctx context.Context, root *os.Root, name string, desc ocispec.Descriptor) error {
	rc, err := s.blobs.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer rc.Close()
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, rc); err != nil {
		f.Close()
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
