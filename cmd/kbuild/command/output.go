// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/runv-legacy/runv-legacy/artifact"
	"github.com/runv-legacy/runv-legacy/kernels"
	"github.com/runv-legacy/runv-legacy/profiles"
)

// writeOutput writes an image's files into a folder, each whole or not at all.
func writeOutput(dir string, img artifact.Image, b *kernels.Build) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	guest, err := json.MarshalIndent(img.Guest, "", "  ")
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		file artifact.FileRef
	}{
		{artifact.TitleKernel, img.Kernel},
		{artifact.TitleInitrd, img.Initrd},
		{artifact.TitleKConfig, img.Config},
		{artifact.TitleSystemMap, img.SystemMap},
		{"vmlinux", artifact.FileAt(b.Vmlinux)},
		{artifact.TitleGuest, artifact.Bytes(append(guest, '\n'))},
	} {
		if err := writeWhole(filepath.Join(dir, f.name), f.file); err != nil {
			return err
		}
	}
	return nil
}

func writeWhole(name string, file artifact.FileRef) error {
	var r io.Reader = bytes.NewReader(file.Data)
	if file.Path != "" {
		f, err := os.Open(file.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		r = f
	}
	t, err := renameio.NewPendingFile(name, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer t.Cleanup() //nolint:errcheck // after the replacement there is nothing to clean up
	if _, err := io.Copy(t, r); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return t.CloseAtomicallyReplace()
}

func fileSHA256(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// correspondingSource is what the GPL asks to go with the kernel.
func correspondingSource(p *profiles.Profile, r kernels.Recipe, withTarball bool) *artifact.CorrespondingSource {
	c := &artifact.CorrespondingSource{Build: buildRecipe(r)}
	if provenance := provenanceSource(r.Source); provenance.URL != "" {
		c.TarballURL = provenance.URL
	}
	if r.Source.Kind == kernels.KindTarball {
		c.TarballSHA256 = strings.TrimPrefix(r.Source.Digest, "sha256:")
	}
	for _, patch := range r.Patches {
		c.Patches = append(c.Patches, artifact.SourceFile{Name: patch.File, Data: patch.Data})
	}
	for i, f := range p.Config.Fragments {
		name := fmt.Sprintf("fragments/%02d-%s", i, path.Base(f.Name))
		c.Files = append(c.Files, artifact.SourceFile{Name: name, Data: f.Data})
	}
	if withTarball && r.Source.Kind == kernels.KindTarball {
		c.Tarball = artifact.FileAt(r.Source.Path)
		c.TarballName = tarballName(r)
	}
	return c
}

// tarballName is the source's name upstream, which the copy in the cache need
// not have.
func tarballName(r kernels.Recipe) string {
	if strings.Contains(r.Source.Origin, "://") {
		return path.Base(r.Source.Origin)
	}
	base := filepath.Base(r.Source.Path)
	if i := strings.Index(base, ".tar"); i >= 0 {
		return "linux-" + r.Version + base[i:]
	}
	return "linux-" + r.Version + ".tar"
}

// buildRecipe is how to build the kernel without kbuild.
func buildRecipe(r kernels.Recipe) string {
	cc := strings.Join(append([]string{r.Toolchain.CC}, r.Toolchain.CFlags...), " ")
	return fmt.Sprintf("for p in $(cat patches/series); do patch -d linux -p1 < patches/$p; done\n"+
		"cp config linux/.config\n"+
		"make -C linux ARCH=%s CC=%q %s\n", r.Arch, cc, r.Toolchain.Target)
}
