// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// signer is a key that expired long ago, as those of old releases have.
type signer struct {
	entity *openpgp.Entity
	config *packet.Config
}

func newSigner(t testing.TB) signer {
	t.Helper()
	then := &packet.Config{Time: func() time.Time { return time.Unix(1457740800, 0) }, KeyLifetimeSecs: 86400, Algorithm: packet.PubKeyAlgoEdDSA}
	e, err := openpgp.NewEntity("Stable", "", "stable@example.invalid", then)
	if err != nil {
		t.Fatal(err)
	}
	return signer{e, then}
}

func (s signer) sign(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&b, s.entity, bytes.NewReader(data), s.config); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (s signer) pgp(t testing.TB, urls ...string) *PGP {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err == nil {
		err = s.entity.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &PGP{SignatureURLs: urls, Key: b.Bytes(), Fingerprints: []string{fmt.Sprintf("%X", s.entity.PrimaryKey.Fingerprint)}}
}

// signed serves a kernel at /l.tar.xz and a signature at /l.tar.sign.
func signed(t testing.TB, data, sig []byte) *mirror {
	return newMirror(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/l.tar.xz":
			whole(data)(n, w, r)
		case sig != nil:
			_, _ = w.Write(sig)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
}

func TestSignatureOfADownload(t *testing.T) {
	plain := makeTar(t, smallKernel)
	data := compressed(t, ".xz", plain)
	key, stranger := newSigner(t), newSigner(t)
	wrongKey := stranger.pgp(t)
	wrongKey.Fingerprints = key.pgp(t).Fingerprints
	tests := map[string]struct {
		sig  []byte
		pgp  *PGP
		want string // the verification, or
		fail string // what the error says
	}{
		"good, of the uncompressed tar": {key.sign(t, plain), key.pgp(t), VerifiedSHA256PGP, ""},
		"not to be had":                 {nil, key.pgp(t), VerifiedSHA256, ""},
		"of something else":             {key.sign(t, []byte("x")), key.pgp(t), "", "signature is not good"},
		"by a stranger":                 {stranger.sign(t, plain), key.pgp(t), "", "signature is not good"},
		"not a signature":               {[]byte("<html>"), key.pgp(t), "", "signature is not good"},
		"a ring without the pinned key": {key.sign(t, plain), wrongKey, "", "holds none of the fingerprints"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			m := signed(t, data, tc.sig)
			spec := pinned(data, m.URL+"/l.tar.xz")
			tc.pgp.SignatureURLs = []string{m.URL + "/l.tar.sign"}
			spec.Candidates[0].PGP = tc.pgp
			c := emptyCache(t)
			s, err := c.FetchSource(t.Context(), spec, "", nil)
			if tc.fail != "" {
				wantKind(t, err, SourceUnavailable, tc.fail)
				return
			}
			if err != nil || s.Verification != tc.want {
				t.Fatalf("source is %+v, %v", s, err)
			}
			before := len(m.asked())
			if s, err = c.FetchSource(t.Context(), spec, "", nil); err != nil || s.Verification != tc.want {
				t.Errorf("again: source is %+v, %v", s, err)
			}
			if tc.sig != nil && len(m.asked()) != before {
				t.Error("the signature was fetched again")
			}
		})
	}
}

func TestSignatureBesideALocalTarball(t *testing.T) {
	plain := makeTar(t, smallKernel)
	key := newSigner(t)
	spec := pinned([]byte("the compressed one"))
	spec.Candidates[0].PGP = key.pgp(t)
	fetch := func(sig []byte) (Source, error) {
		file := put(t, filepath.Join(t.TempDir(), "l.tar"), plain)
		if sig != nil {
			put(t, file+".sign", sig)
		}
		return emptyCache(t).FetchSource(t.Context(), spec, file, nil)
	}
	if s, err := fetch(key.sign(t, plain)); err != nil || s.Verification != VerifiedPGP {
		t.Errorf("signed: %+v, %v", s, err)
	}
	if s, err := fetch(nil); err != nil || s.Verification != UnverifiedLocalSrc {
		t.Errorf("not signed: %+v, %v", s, err)
	}
	_, err := fetch(key.sign(t, []byte("x")))
	wantKind(t, err, SourceSignature, "do not use this file")
}

func TestSignatureBesideACompressedTarball(t *testing.T) {
	plain := makeTar(t, smallKernel)
	data := compressed(t, ".xz", plain)
	key := newSigner(t)
	spec := pinned(data)
	spec.Candidates[0].PGP = key.pgp(t)
	file := put(t, filepath.Join(t.TempDir(), "l.tar.xz"), data)
	put(t, filepath.Join(filepath.Dir(file), "l.tar.sign"), key.sign(t, plain))
	if s, err := emptyCache(t).FetchSource(t.Context(), spec, file, nil); err != nil || s.Verification != VerifiedSHA256PGP {
		t.Errorf("source is %+v, %v", s, err)
	}
}
