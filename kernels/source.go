// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The types of a [Candidate].
const (
	CandidateUpstream = "upstream" // a tarball by URL, pinned by its SHA-256
	CandidateDebian   = "debian"   // the tarball of an installed linux-source package
)

// The kinds of a [Source].
const (
	KindTarball = "tarball"
	KindDir     = "dir"
)

// How a [Source] was verified.
const (
	VerifiedSHA256     = "sha256"           // the tarball has the digest the spec pins
	VerifiedSHA256PGP  = "sha256+pgp"       // and a signature by a pinned key
	VerifiedPGP        = "pgp"              // an uncompressed tarball with a signature by a pinned key
	VerifiedDebian     = "debian-package"   // the file an installed Debian package recorded
	UnverifiedLocalSrc = "unverified-local" // the user's own tree or tarball; Digest says which
)

// SourceSpec says which source a kernel is built from.
type SourceSpec struct {
	// Name is used in messages only: the profile's name.
	Name string
	// Version is the kernel's version, "2.6.32.71". Source that is Debian's may
	// differ from it behind the second number, which Debian moves.
	Version string
	// Candidates are tried in order.
	Candidates []Candidate
}

// Candidate is one place the source can come from.
type Candidate struct {
	Type string // CandidateUpstream or CandidateDebian

	// Upstream:
	URLs   []string // of the same file, tried in order
	SHA256 string   // of that file, lower-case hexadecimal
	PGP    *PGP     // nil: the digest alone

	// Debian:
	Package string // "linux-source-6.1"
	Path    string // "/usr/src/linux-source-6.1.tar.xz"
}

// PGP is the signature of an upstream tarball. kernel.org signs the uncompressed
// tar (https://www.kernel.org/signature.html).
type PGP struct {
	SignatureURLs []string
	Key           []byte   // an armored or binary public key ring
	Fingerprints  []string // hexadecimal; only these keys of the ring count
}

// Source is a kernel's source, verified as Verification says.
type Source struct {
	Path string // a file in the cache or on the user's disk, or a folder
	Kind string // KindTarball or KindDir
	// Digest is "sha256:" and the SHA-256 of the tarball's file. A folder has the
	// digest of the tarball that [Cache.ImportSource] makes of it.
	Digest       string
	Verification string
	Origin       string // a URL, "debian", or "local"
	Package      string // Debian's package and its version, "linux-source-6.1=6.1.1-1"
	Version      string // as the source's own Makefile has it, "2.6.32.71"

	// stamp is what the file or folder looked like when it was digested.
	stamp string
}

// FetchSource finds the source that spec asks for.
//
// With local empty it is what ImportSource was given for this spec, or else the
// first candidate that can be had: from the cache, from an installed package, or
// from the network. A source that the cache holds is not digested again unless
// its file has changed.
//
// A local folder or tarball is used where it is and leaves only a record of its
// digest in the cache. A compressed tarball must be one of the candidates'; a
// folder and an uncompressed tarball may be anything that is a kernel of spec's
// version. What goes wrong is a *SourceError.
func (c *Cache) FetchSource(ctx context.Context, spec SourceSpec, local string, p Progress) (Source, error) {
	unlock, err := c.Lock(ctx, "source-"+spec.key(), StageFetch, p)
	if err != nil {
		return Source{}, err
	}
	defer unlock()
	if local != "" {
		return c.localSource(ctx, spec, local, p)
	}
	return c.findSource(ctx, spec, p)
}

// ImportSource copies a local folder or tarball into the cache, after the checks
// of FetchSource. From then on FetchSource finds it for this spec without local,
// with the verification it had, and the original is not needed. A folder becomes
// an uncompressed tarball: entries sorted, owner 0, one fixed time. With local
// empty ImportSource is FetchSource, and copies an installed package's tarball.
func (c *Cache) ImportSource(ctx context.Context, spec SourceSpec, local string, p Progress) (Source, error) {
	unlock, err := c.Lock(ctx, "source-"+spec.key(), StageFetch, p)
	if err != nil {
		return Source{}, err
	}
	defer unlock()
	var s Source
	if local != "" {
		s, err = c.localSource(ctx, spec, local, p)
	} else {
		s, err = c.findSource(ctx, spec, p)
	}
	if err != nil {
		return Source{}, err
	}
	return c.keepSource(ctx, spec, s, p)
}

// ForgetSource undoes ImportSource: FetchSource goes back to the candidates. The
// copy is removed if no other spec uses it.
func (c *Cache) ForgetSource(ctx context.Context, spec SourceSpec) error {
	unlock, err := c.Lock(ctx, "source-"+spec.key(), StageFetch, nil)
	if err != nil {
		return err
	}
	defer unlock()
	err = os.Remove(c.keptPath(spec))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the imported source of %s: %w", spec.Name, err)
	}
	return c.pruneSources(ctx)
}

// findSource is FetchSource without a local source.
func (c *Cache) findSource(ctx context.Context, spec SourceSpec, p Progress) (Source, error) {
	var tried []Attempt
	s, err := c.keptSource(ctx, spec, p)
	switch {
	case err == nil:
		p.report(Event{Stage: StageFetch, State: Cached, Detail: s.Path})
		return s, nil
	case !errors.Is(err, fs.ErrNotExist):
		tried = append(tried, Attempt{What: "imported copy", Err: err})
	}
	for _, cand := range spec.Candidates {
		var more []Attempt
		switch cand.Type {
		case CandidateUpstream:
			s, more, err = c.upstreamSource(ctx, spec, cand, p)
		case CandidateDebian:
			s, err = c.debianSource(ctx, spec, cand, p)
			more = []Attempt{{What: "Debian package " + cand.Package, Err: err}}
		default:
			err = fmt.Errorf("unknown source type %q; use %q or %q", cand.Type, CandidateUpstream, CandidateDebian)
			more = []Attempt{{What: cand.Type, Err: err}}
		}
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return Source{}, fmt.Errorf("get the source of %s: %w", spec.Name, context.Cause(ctx))
		}
		tried = append(tried, more...)
	}
	return Source{}, unavailable(spec, tried)
}

// key names spec in the cache. Specs that ask for the same files share it,
// whatever they are called.
func (s SourceSpec) key() string {
	type candidate struct{ Type, SHA256, Package string }
	k := struct {
		Version    string
		Candidates []candidate
	}{Version: s.Version}
	for _, c := range s.Candidates {
		k.Candidates = append(k.Candidates, candidate{c.Type, c.SHA256, c.Package})
	}
	b, err := json.Marshal(k)
	if err != nil { // only strings: cannot fail
		return "invalid"
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// keptPath is the record of what ImportSource kept for spec.
func (c *Cache) keptPath(spec SourceSpec) string {
	return filepath.Join(c.path(sourcesDir), "kept-"+spec.key()+".json")
}
