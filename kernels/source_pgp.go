// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/google/renameio/v2"
)

// signatureExt is what kernel.org's signatures end in: linux-X.tar.sign.
const signatureExt = ".sign"

// maxSignature bounds a signature file. They are under 1 KiB.
const maxSignature = 64 << 10

// verifySignature checks the PGP signature of a candidate's tarball. It is false
// where there is no signature to check: the pinned digest then stands alone, and
// progress says so. A signature that is there and not good is an error.
func (c *Cache) verifySignature(ctx context.Context, file string, cand Candidate, p Progress) (bool, error) {
	if cand.PGP == nil {
		return false, nil
	}
	done := filepath.Join(c.path(sourcesDir), cand.SHA256+".pgp-verified")
	if b, err := os.ReadFile(done); err == nil && string(b) == cand.PGP.id() {
		return true, nil
	}
	sig, err := c.signature(ctx, file, cand)
	if err != nil {
		p.report(Event{Stage: StageVerify, State: Finished, Detail: "no PGP signature, the pinned sha256 stands alone: " + err.Error()})
		return false, nil
	}
	if err := checkSignature(ctx, file, sig, *cand.PGP, p); err != nil {
		return false, err
	}
	return true, renameio.WriteFile(done, []byte(cand.PGP.id()), 0o644)
}

// id stands for the keys that a signature was checked with.
func (g *PGP) id() string { return strings.ToUpper(strings.Join(g.Fingerprints, " ")) }

// signature finds the signature of a candidate's tarball: beside the file, in the
// cache, or on the network.
func (c *Cache) signature(ctx context.Context, file string, cand Candidate) ([]byte, error) {
	if sig := signatureBeside(file); sig != nil {
		return sig, nil
	}
	kept := filepath.Join(c.path(sourcesDir), cand.SHA256+signatureExt)
	if b, err := os.ReadFile(kept); err == nil {
		return b, nil
	}
	errs := []error{errors.New("the profile has no URL of a signature")}
	for i, u := range cand.PGP.SignatureURLs {
		b, err := c.getSmall(ctx, u)
		if err == nil {
			return b, renameio.WriteFile(kept, b, 0o644)
		}
		errs = append(errs[:i], fmt.Errorf("%s: %w", u, err))
	}
	return nil, errors.Join(errs...)
}

// signatureBeside reads FILE.sign, FILE.asc, or that of the name without its
// compression (linux-X.tar.xz is signed by linux-X.tar.sign). Nil if none is there.
func signatureBeside(file string) []byte {
	bases := []string{file}
	for _, c := range compressions {
		if base, ok := strings.CutSuffix(file, c.ext); ok {
			bases = append(bases, base)
		}
	}
	for _, base := range bases {
		for _, ext := range []string{signatureExt, ".asc"} {
			if fileSize(base+ext) > maxSignature {
				continue
			}
			if b, err := os.ReadFile(base + ext); err == nil {
				return b
			}
		}
	}
	return nil
}

// getSmall downloads a signature.
func (c *Cache) getSmall(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, stallLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, plainHTTP(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxSignature+1))
	if err == nil && len(b) > maxSignature {
		err = fmt.Errorf("more than %d bytes, which is no signature", maxSignature)
	}
	return b, err
}

// checkSignature checks a detached signature over the uncompressed tar in file.
func checkSignature(ctx context.Context, file string, sig []byte, pgp PGP, p Progress) error {
	keys, err := pgp.keys()
	if err != nil {
		return &SourceError{Kind: SourceSignature, Path: file, Msg: "its signature cannot be checked", Err: err, Fix: "mend the profile's pgp section"}
	}
	raw := sig
	if block, err := armor.Decode(bytes.NewReader(sig)); err == nil {
		if raw, err = io.ReadAll(io.LimitReader(block.Body, maxSignature)); err != nil {
			return badSignature(file, err)
		}
	}
	made, err := signatureTime(raw)
	if err != nil {
		return badSignature(file, err)
	}
	t, err := openTar(ctx, file)
	if err != nil {
		return err
	}
	defer t.Close()
	m := newMeter(p, StageVerify, 0, "PGP signature of "+filepath.Base(file))
	var readErr error
	body := readerFunc(func(b []byte) (int, error) {
		n, err := (&contextReader{ctx, t.Reader}).Read(b)
		m.add(int64(n))
		if err != nil && err != io.EOF {
			readErr = err
		}
		return n, err
	})
	// Old releases were signed by keys that have expired since. The keys are
	// pinned by fingerprint, so what counts is that they were good then.
	cfg := &packet.Config{Time: func() time.Time { return made }}
	if _, err := openpgp.CheckDetachedSignature(keys, body, bytes.NewReader(raw), cfg); err != nil {
		if readErr != nil {
			return streamError(file, readErr)
		}
		return badSignature(file, err)
	}
	m.finish()
	return nil
}

// readerFunc is a function as a reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func badSignature(file string, err error) error {
	return &SourceError{Kind: SourceSignature, Path: file, Msg: "its PGP signature is not good", Err: err, Fix: "do not use this file; get it and its signature again"}
}

// keys are those of the ring that are pinned.
func (g *PGP) keys() (openpgp.EntityList, error) {
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(g.Key))
	if err != nil {
		if ring, err = openpgp.ReadKeyRing(bytes.NewReader(g.Key)); err != nil {
			return nil, fmt.Errorf("read the key file: %w", err)
		}
	}
	var want []string
	for _, f := range g.Fingerprints {
		want = append(want, strings.ToUpper(strings.ReplaceAll(f, " ", "")))
	}
	ring = slices.DeleteFunc(ring, func(e *openpgp.Entity) bool {
		return !slices.Contains(want, fmt.Sprintf("%X", e.PrimaryKey.Fingerprint))
	})
	if len(ring) == 0 {
		return nil, fmt.Errorf("the key file holds none of the fingerprints %s: %w", strings.Join(g.Fingerprints, ", "), fs.ErrNotExist)
	}
	return ring, nil
}

// signatureTime is when a signature says it was made.
func signatureTime(sig []byte) (time.Time, error) {
	pkt, err := packet.Read(bytes.NewReader(sig))
	if err != nil {
		return time.Time{}, err
	}
	s, ok := pkt.(*packet.Signature)
	if !ok {
		return time.Time{}, errors.New("it is not a detached signature")
	}
	return s.CreationTime, nil
}
