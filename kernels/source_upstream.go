// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
)

// maxSource bounds what is downloaded for one source. linux-6.x.tar.xz is 150 MB.
const maxSource = 4 << 30

var sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// upstreamSource gives a candidate from the cache or its URLs, and what was tried
// in vain.
func (c *Cache) upstreamSource(ctx context.Context, spec SourceSpec, cand Candidate, p Progress) (Source, []Attempt, error) {
	fail := func(what string, err error) (Source, []Attempt, error) {
		return Source{}, []Attempt{{What: what, Err: err}}, err
	}
	if !sha256Pattern.MatchString(cand.SHA256) {
		return fail("upstream", fmt.Errorf("sha256 %q is not 64 lower-case hexadecimal digits", cand.SHA256))
	}
	// Two specs may pin the same file.
	unlock, err := c.Lock(ctx, "download-"+cand.SHA256, StageFetch, p)
	if err != nil {
		return fail("upstream", err)
	}
	defer unlock()
	file, origin, tried, err := c.download(ctx, cand, p)
	if err != nil {
		return Source{}, tried, err
	}
	r, err := c.digestFile(ctx, file, p)
	if err != nil {
		return fail(origin, err)
	}
	s := Source{
		Path: file, Kind: KindTarball, Digest: "sha256:" + r.SHA256, Verification: VerifiedSHA256,
		Origin: origin, stamp: r.Stamp,
	}
	if s, err = c.checkTarball(ctx, spec, s, r, false); err != nil {
		return fail(origin, err)
	}
	good, err := c.verifySignature(ctx, s.Path, cand, p)
	if err != nil {
		return fail(origin, err)
	}
	if good {
		s.Verification = VerifiedSHA256PGP
	}
	return s, nil, nil
}

// download makes sure that a candidate's file is in the cache, whole and with the
// pinned digest, and says where it came from.
func (c *Cache) download(ctx context.Context, cand Candidate, p Progress) (file, origin string, tried []Attempt, err error) {
	dir := c.path(sourcesDir)
	have, err := filepath.Glob(filepath.Join(dir, cand.SHA256+"-*"))
	if err != nil {
		return "", "", nil, err
	}
	for _, file := range have {
		if filepath.Ext(file) == signatureExt {
			continue
		}
		r, err := c.digestFile(ctx, file, p)
		if err != nil {
			return "", "", []Attempt{{What: file, Err: err}}, err
		}
		if r.SHA256 == cand.SHA256 {
			p.report(Event{Stage: StageFetch, State: Cached, Detail: file})
			return file, originOf(cand), nil, nil
		}
		// The disk or somebody changed it. It is of no use to anybody.
		tried = append(tried, Attempt{What: file, Err: mismatch(file, r.SHA256, cand.SHA256, "it is removed and got again")})
		if err := os.Remove(file); err != nil {
			return "", "", tried, err
		}
	}
	part := filepath.Join(dir, cand.SHA256+".part")
	err = errors.New("the profile names no URL")
	for _, u := range cand.URLs {
		file = filepath.Join(dir, cand.SHA256+"-"+urlBase(u))
		if err = c.get(ctx, u, part, cand.SHA256, p); err == nil {
			err = os.Rename(part, file)
		}
		if err == nil {
			return file, originOf(cand), nil, syncDir(dir)
		}
		tried = append(tried, Attempt{What: u, Err: err})
		if ctx.Err() != nil {
			break
		}
	}
	if len(tried) == 0 {
		tried = []Attempt{{What: "upstream", Err: err}}
	}
	return "", "", tried, err
}

// originOf is the URL that a file is recorded to come from. Which mirror gave it
// makes no difference to its bytes and must make none to an artifact's, so it is
// always the first.
func originOf(cand Candidate) string {
	if len(cand.URLs) == 0 {
		return "cache"
	}
	return cand.URLs[0]
}

// urlBase is the file name in a URL, harmless as a file name here.
func urlBase(raw string) string {
	name := "source"
	if u, err := url.Parse(raw); err == nil && path.Base(u.Path) != "/" && path.Base(u.Path) != "." {
		name = path.Base(u.Path)
	}
	return regexp.MustCompile(`[^A-Za-z0-9._+-]`).ReplaceAllString(name, "_")
}

// syncDir makes a rename in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

func mismatch(path, got, want, fix string) error {
	return &SourceError{
		Kind: SourceMismatch, Path: path, Got: "sha256:" + got, Want: "sha256:" + want,
		Msg: fmt.Sprintf("has sha256 %s, but %s is pinned", got, want), Fix: fix,
	}
}
