package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// defaultKeepPartial is how long an interrupted download can be continued.
const defaultKeepPartial = 24 * time.Hour

// GCOptions say what GC spares.
type GCOptions struct {
	// KeepPartial spares interrupted downloads that are younger, so that the next
	// pull continues them. 0 means 24 hours; negative spares none.
	KeepPartial time.Duration
	// KeepBlobs spares unused blobs that are younger. 0 spares none: programs that
	// use this package hold the store while they write. Set it where others, such
	// as skopeo, copy into the folder.
	KeepBlobs time.Duration
	// DryRun only counts.
	DryRun bool
}

// GCReport is what GC removed, or would remove.
type GCReport struct {
	Blobs     int   `json:"blobs"`
	Partial   int   `json:"partial"` // interrupted downloads and temporary files
	Referrers int   `json:"referrers"`
	Freed     int64 `json:"freed"` // bytes
}

// GC removes blobs that no name leads to: not by index, manifest, config, layer
// or as a referrer of what a name leads to. It waits for Add, Pull, Push and Hold
// of all processes, and they wait for it. It removes nothing when a manifest that
// is in use cannot be read, because then it cannot know what that one needs.
func (s *Store) GC(ctx context.Context, opts GCOptions) (GCReport, error) {
	var report GCReport
	if _, err := os.Stat(filepath.Join(s.dir, ocispec.ImageLayoutFile)); errors.Is(err, fs.ErrNotExist) {
		return report, nil
	}
	if err := s.prepare(ctx); err != nil {
		return report, err
	}
	release, err := s.lock(ctx, lockUse, true)
	if err != nil {
		return report, err
	}
	defer release()
	// Interrupted downloads go first: on a full disk nothing can be written, not
	// even a new index.json, before something is removed.
	if err := s.sweepIngest(opts, &report); err != nil {
		return report, fmt.Errorf("gc: %w", err)
	}
	top, err := s.readIndex()
	if err != nil {
		return report, fmt.Errorf("gc: %w", err)
	}
	marked, err := s.mark(ctx, &top, &report)
	if err != nil {
		return report, fmt.Errorf("gc: %w", err)
	}
	if err := s.sweepBlobs(ctx, marked, opts, &report); err != nil {
		return report, fmt.Errorf("gc: %w", err)
	}
	if report.Referrers == 0 || opts.DryRun {
		return report, nil
	}
	// An entry whose blob is gone is no referrer of anything, so that a crash
	// before this line is harmless; the next GC drops it.
	return report, s.updateIndex(ctx, func(x *Index) error {
		*x = top
		return nil
	})
}

// mark finds what is in use and drops referrers of what is not from top.
func (s *Store) mark(ctx context.Context, top *Index, report *GCReport) (map[digest.Digest]bool, error) {
	marked := map[digest.Digest]bool{}
	waiting := map[digest.Digest]ocispec.Descriptor{} // referrers by their own digest
	subjects := map[digest.Digest]digest.Digest{}
	for _, d := range top.Manifests {
		if d.Annotations[ocispec.AnnotationRefName] == "" {
			node, err := s.node(ctx, d)
			switch {
			case err == nil && node.Subject != nil:
				waiting[d.Digest], subjects[d.Digest] = d, node.Subject.Digest
				continue
			case errors.Is(err, ErrIncomplete):
				waiting[d.Digest] = d
				continue
			}
		}
		if err := s.markTree(ctx, d, marked); err != nil {
			return nil, fmt.Errorf("%s: %w", entryName(d), err)
		}
	}
	// A signature of an SBOM refers to a referrer, so go on until nothing is added.
	for changed := true; changed; {
		changed = false
		for dig, d := range waiting {
			if !marked[subjects[dig]] {
				continue
			}
			delete(waiting, dig)
			changed = true
			if err := s.markTree(ctx, d, marked); err != nil {
				return nil, fmt.Errorf("referrer %s: %w", dig, err)
			}
		}
	}
	top.Manifests = slices.DeleteFunc(top.Manifests, func(d ocispec.Descriptor) bool {
		_, dead := waiting[d.Digest]
		return dead && d.Annotations[ocispec.AnnotationRefName] == "" && !marked[d.Digest]
	})
	report.Referrers = len(waiting)
	return marked, nil
}

func entryName(d ocispec.Descriptor) string {
	if name := d.Annotations[ocispec.AnnotationRefName]; name != "" {
		return name
	}
	return d.Digest.String()
}

// node is what any manifest or index, OCI's or Docker's, refers to. It is not
// checked as a guest image is: others may keep images in this layout.
type node struct {
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Blobs     []ocispec.Descriptor `json:"blobs"`
	Manifests []ocispec.Descriptor `json:"manifests"`
	Subject   *ocispec.Descriptor  `json:"subject"`
}

func isNode(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
		"application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.oci.artifact.manifest.v1+json":
		return true
	}
	return false
}

func (s *Store) node(ctx context.Context, d ocispec.Descriptor) (node, error) {
	var n node
	if !isNode(d.MediaType) {
		return n, nil
	}
	data, err := s.blobs.readAll(ctx, d, maxManifestSize)
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return n, jsonError(d.Digest.String(), err)
	}
	return n, nil
}

// markTree marks d and what it refers to. Manifests that are not in the store
// are platforms that were not pulled.
func (s *Store) markTree(ctx context.Context, d ocispec.Descriptor, marked map[digest.Digest]bool) error {
	if marked[d.Digest] {
		return nil
	}
	n, err := s.node(ctx, d)
	if errors.Is(err, ErrIncomplete) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w; remove that name or mend it, then run gc again", err)
	}
	marked[d.Digest] = true
	if n.Config != nil {
		marked[n.Config.Digest] = true
	}
	for _, l := range append(n.Layers, n.Blobs...) {
		marked[l.Digest] = true
	}
	for _, m := range n.Manifests {
		if err := s.markTree(ctx, m, marked); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) sweepBlobs(ctx context.Context, marked map[digest.Digest]bool, opts GCOptions, report *GCReport) error {
	algorithms, err := os.ReadDir(filepath.Join(s.dir, "blobs"))
	if err != nil {
		return storeError(s.dir, "list blobs", err)
	}
	for _, alg := range algorithms {
		files, err := os.ReadDir(filepath.Join(s.dir, "blobs", alg.Name()))
		if err != nil {
			return storeError(s.dir, "list blobs", err)
		}
		for _, f := range files {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			d := digest.Digest(alg.Name() + ":" + f.Name())
			if !digestPattern.MatchString(d.String()) || marked[d] {
				continue
			}
			fi, err := f.Info()
			if err != nil || s.now().Sub(fi.ModTime()) < opts.KeepBlobs {
				continue
			}
			report.Blobs++
			report.Freed += fi.Size()
			if opts.DryRun {
				continue
			}
			if err := os.Remove(filepath.Join(s.dir, "blobs", alg.Name(), f.Name())); err != nil {
				return storeError(s.dir, "remove blob "+d.String(), err)
			}
			s.blobs.forget(d)
		}
	}
	return nil
}

// sweepIngest removes what interrupted writers left. GC is alone in the store
// now, so that no temporary file has a living owner.
func (s *Store) sweepIngest(opts GCOptions, report *GCReport) error {
	keep := opts.KeepPartial
	if keep == 0 {
		keep = defaultKeepPartial
	}
	files, err := os.ReadDir(s.blobs.ingestDir())
	if err != nil {
		return storeError(s.dir, "list unfinished blobs", err)
	}
	for _, f := range files {
		fi, err := f.Info()
		if err != nil {
			continue
		}
		switch name := f.Name(); {
		case strings.HasPrefix(name, "tmp-"):
		case strings.HasSuffix(name, partSuffix) && s.now().Sub(fi.ModTime()) >= keep:
		case strings.HasSuffix(name, partLockSuffix):
			if !opts.DryRun {
				os.Remove(filepath.Join(s.blobs.ingestDir(), name))
			}
			continue
		default:
			continue
		}
		report.Partial++
		report.Freed += fi.Size()
		if opts.DryRun {
			continue
		}
		if err := os.Remove(filepath.Join(s.blobs.ingestDir(), f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storeError(s.dir, "remove unfinished blob", err)
		}
	}
	return nil
}

// Names of interrupted downloads in the ingest folder, and of the locks that let
// one process at a time continue one.
const (
	partSuffix     = ".part"
	partLockSuffix = ".lock"
)
