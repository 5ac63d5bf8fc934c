package artifact

import (
	"context"
	"fmt"
)

// BootFiles are the verified files of an image, in the store. They are read-only
// and stay until the image is removed and GC runs; Hold keeps GC away.
type BootFiles struct {
	Resolved
	Kernel, Initrd string
	// Config and SystemMap are empty where the image has none.
	Config, SystemMap string
}

// Files returns the paths of an image's kernel, initrd, configuration and
// System.map. Their digests are verified; a file that was verified before and did
// not change since is not read again.
//
// The error wraps those of Resolve, or is a *DigestError.
func (s *Store) Files(ctx context.Context, ref string, more ...string) (BootFiles, error) {
	r, err := s.Resolve(ctx, ref, more...)
	if err != nil {
		return BootFiles{}, err
	}
	out := BootFiles{Resolved: r}
	paths := map[string]*string{
		MediaTypeKernel: &out.Kernel, MediaTypeInitrd: &out.Initrd,
		MediaTypeKConfig: &out.Config, MediaTypeSystemMap: &out.SystemMap,
	}
	for _, l := range r.Layers {
		path, wanted := paths[l.MediaType]
		if !wanted {
			continue
		}
		if *path, err = s.blobs.ensure(ctx, l); err != nil {
			return BootFiles{}, fmt.Errorf("files of %s: %w", ref, err)
		}
	}
	return out, nil
}
