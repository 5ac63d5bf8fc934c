// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// localSource checks a folder or tarball of the user's.
func (c *Cache) localSource(ctx context.Context, spec SourceSpec, local string, p Progress) (Source, error) {
	// Records are by path, so the path must be the one there is.
	path, err := filepath.Abs(local)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Source{}, &SourceError{Kind: SourceNotFound, Path: local, Msg: "there is no such file or folder", Fix: "give a kernel tree or a tarball of one to --source"}
	case err != nil:
		return Source{}, &SourceError{Kind: SourceNotFound, Path: local, Msg: "cannot be read", Err: err}
	case info.IsDir():
		return c.localDir(ctx, spec, path, p)
	}
	return c.localTarball(ctx, spec, path, p)
}

// localDir checks a folder. Its digest is that of the tarball that ImportSource
// makes of it.
func (c *Cache) localDir(ctx context.Context, spec SourceSpec, dir string, p Progress) (Source, error) {
	version, err := Version(dir)
	if err != nil {
		return Source{}, err
	}
	if err := checkVersion(spec, dir, version, spec.debianSpec()); err != nil {
		return Source{}, err
	}
	r, err := c.digestTree(ctx, dir, p)
	if err != nil {
		return Source{}, err
	}
	return Source{
		Path: dir, Kind: KindDir, Digest: "sha256:" + r.SHA256, Verification: UnverifiedLocalSrc,
		Origin: "local", Version: version, stamp: r.Stamp,
	}, nil
}

// localTarball checks a tarball. It is one of the spec's, or one of Debian's, or
// else uncompressed: whoever decompressed it has seen to it himself.
func (c *Cache) localTarball(ctx context.Context, spec SourceSpec, file string, p Progress) (Source, error) {
	t, err := openTar(ctx, file)
	if err != nil {
		return Source{}, err
	}
	compression := t.Compression
	t.Close()
	r, err := c.digestFile(ctx, file, p)
	if err != nil {
		return Source{}, err
	}
	s := Source{Path: file, Kind: KindTarball, Digest: "sha256:" + r.SHA256, Verification: UnverifiedLocalSrc, Origin: "local", stamp: r.Stamp}
	for _, cand := range spec.Candidates {
		if cand.Type != CandidateUpstream || cand.SHA256 != r.SHA256 {
			continue
		}
		s.Verification, s.Origin = VerifiedSHA256, originOf(cand)
		good, err := c.verifyLocal(ctx, file, cand, p)
		if err != nil {
			return Source{}, err
		}
		if good {
			s.Verification = VerifiedSHA256PGP
		}
		return c.checkTarball(ctx, spec, s, r, false)
	}
	deb, err := c.debianTarball(r.MD5)
	if err != nil {
		return Source{}, err
	}
	if deb.Path != "" {
		s.Verification, s.Origin, s.Package = VerifiedDebian, "debian", deb.Package+"="+deb.Version
		return c.checkTarball(ctx, spec, s, r, true)
	}
	if compression != "" {
		return Source{}, c.notPinned(ctx, spec, file, r)
	}
	for _, cand := range spec.Candidates {
		good, err := c.verifyLocal(ctx, file, cand, p)
		if err != nil {
			return Source{}, err
		}
		if good {
			s.Verification, s.Origin = VerifiedPGP, originOf(cand)
			break
		}
	}
	return c.checkTarball(ctx, spec, s, r, spec.debianSpec())
}

// verifyLocal checks the signature beside a local file, or the one the cache has.
// Local source never makes kbuild go to the network.
func (c *Cache) verifyLocal(ctx context.Context, file string, cand Candidate, p Progress) (bool, error) {
	if cand.PGP == nil {
		return false, nil
	}
	beside := signatureBeside(file)
	sig := beside
	if sig == nil {
		b, err := os.ReadFile(filepath.Join(c.path(sourcesDir), cand.SHA256+signatureExt))
		if err != nil {
			return false, nil
		}
		sig = b
	}
	err := checkSignature(ctx, file, sig, *cand.PGP, p)
	var se *SourceError
	if errors.As(err, &se) && se.Kind == SourceSignature && beside == nil {
		// The cache's signature is of the candidate's tar, which this one need
		// not be: then it is the user's own and unverified.
		return false, nil
	}
	return err == nil, err
}

// debianTarball is the tarball with this MD5 of an installed package, if any.
func (c *Cache) debianTarball(md5 string) (debianTarball, error) {
	have, err := c.debianTarballs("linux-source-*")
	if err != nil {
		return debianTarball{}, err
	}
	for _, t := range have {
		if t.MD5 == md5 {
			return t, nil
		}
	}
	return debianTarball{}, nil
}

// notPinned is the error of a compressed tarball that is nobody's. If it is not
// even whole, that is what the user wants to hear.
func (c *Cache) notPinned(ctx context.Context, spec SourceSpec, file string, r record) error {
	t, err := openTar(ctx, file)
	if err != nil {
		return err
	}
	defer t.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(&contextReader{ctx, t.Reader}, maxUnpacked)); err != nil {
		return streamError(file, err)
	}
	var want []string
	for _, cand := range spec.Candidates {
		switch cand.Type {
		case CandidateUpstream:
			want = append(want, "sha256:"+cand.SHA256)
		case CandidateDebian:
			want = append(want, "the file of the installed package "+cand.Package)
		}
	}
	pinned := strings.Join(want, " or ")
	return &SourceError{
		Kind: SourceMismatch, Path: file, Got: "sha256:" + r.SHA256, Want: pinned,
		Msg: fmt.Sprintf("has digest sha256:%s, but profile %s pins %s", r.SHA256, spec.Name, pinned),
		Fix: "to build from it all the same, decompress it and give the .tar, which is then recorded as unverified local source",
	}
}
