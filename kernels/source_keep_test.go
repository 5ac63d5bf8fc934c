// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"os"
	"path/filepath"
	"testing"
)

func TestImportedSourceNeedsNoOriginal(t *testing.T) {
	plain := makeTar(t, smallKernel)
	tests := map[string]func(t *testing.T) string{
		"tarball": func(t *testing.T) string { return put(t, filepath.Join(t.TempDir(), "l.tar"), plain) },
		"folder":  func(t *testing.T) string { return smallTree(t) },
	}
	for name, local := range tests {
		t.Run(name, func(t *testing.T) {
			c, spec := emptyCache(t), pinned(nil)
			original := local(t)
			before, err := c.FetchSource(t.Context(), spec, original, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.ImportSource(t.Context(), spec, original, nil); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(original); err != nil {
				t.Fatal(err)
			}
			s, err := c.FetchSource(t.Context(), spec, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			if s.Digest != before.Digest || s.Verification != UnverifiedLocalSrc || s.Version != "2.6.32.71" || s.Kind != KindTarball || !c.owns(s.Path) {
				t.Errorf("source is %+v, was %+v", s, before)
			}
			if err := c.Unpack(t.Context(), s, filepath.Join(t.TempDir(), "x"), nil); err != nil {
				t.Error(err)
			}
			if err := c.ForgetSource(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(s.Path); err == nil {
				t.Error("the copy is still there")
			}
			_, err = c.FetchSource(t.Context(), spec, "", nil)
			wantKind(t, err, SourceUnavailable, "--source", "kbuild fetch --profile 2.6.32")
		})
	}
}

func TestImportedSourceThatWasDamaged(t *testing.T) {
	c, spec := emptyCache(t), pinned(nil)
	s, err := c.ImportSource(t.Context(), spec, put(t, filepath.Join(t.TempDir(), "l.tar"), makeTar(t, smallKernel)), nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s.Path, []byte("damaged"))
	_, err = c.FetchSource(t.Context(), spec, "", nil)
	wantKind(t, err, SourceUnavailable, "imported copy", s.Path, "kbuild fetch")
}
