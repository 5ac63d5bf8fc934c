// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/runv-legacy/runv-legacy/backports"
	"github.com/runv-legacy/runv-legacy/kernels"
	"github.com/runv-legacy/runv-legacy/profiles"
)

// sourceFlags are the flags of every command that needs a kernel's source.
type sourceFlags struct {
	profile string
	source  string
}

func (f *sourceFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.profile, "profile", "", "profile: a name, an alias, or a YAML file")
	cmd.Flags().StringVar(&f.source, "source", "", "kernel source to use: a folder or a tarball")
	// The flag exists; cobra can only fail on an unknown one.
	_ = cmd.RegisterFlagCompletionFunc("profile", completeProfiles)
}

// sourceSpec says which source a profile wants.
func sourceSpec(p *profiles.Profile) kernels.SourceSpec {
	spec := kernels.SourceSpec{Name: p.Name, Version: p.Kernel.Version}
	for _, s := range p.Sources {
		c := kernels.Candidate{
			Type: s.Type, URLs: s.URLs, SHA256: s.SHA256, Package: s.Package, Path: s.Path,
		}
		if s.PGP != nil {
			c.PGP = &kernels.PGP{
				SignatureURLs: s.PGP.SignatureURLs,
				Key:           []byte(s.PGP.Key),
				Fingerprints:  s.PGP.Fingerprints,
			}
		}
		spec.Candidates = append(spec.Candidates, c)
	}
	return spec
}

// series gives the patches that a profile applies, in order.
func series(p *profiles.Profile) ([]backports.Patch, error) {
	if p.Backports.Series == "" {
		return nil, nil
	}
	s, err := backports.Load(p.Backports.Series)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", p.Name, err)
	}
	patches, err := s.Select(p.Backports.Sets, p.Backports.Exclude)
	if err != nil {
		return nil, usageError{fmt.Errorf("profile %s: backports: %w", p.Name, err)}
	}
	return patches, nil
}

// recipe finds a profile's source and makes the kernel's recipe of both.
func (a *app) recipe(ctx context.Context, c *kernels.Cache, p *profiles.Profile, local string, progress kernels.Progress) (kernels.Recipe, error) {
	patches, err := series(p)
	if err != nil {
		return kernels.Recipe{}, err
	}
	if local != "" {
		if local, err = filepath.Abs(local); err != nil {
			return kernels.Recipe{}, fmt.Errorf("--source: %w", err)
		}
	}
	src, err := c.FetchSource(ctx, sourceSpec(p), local, progress)
	if err != nil {
		return kernels.Recipe{}, err
	}
	r := kernels.Recipe{
		Source:       src,
		Version:      p.Kernel.Version,
		Arch:         p.Kernel.Arch,
		LocalVersion: p.Kernel.LocalVersion,
		Patches:      patches,
		Base:         p.Config.Base,
		Toolchain: kernels.Toolchain{
			CC:         p.Toolchain.CC,
			MinGCC:     p.Toolchain.MinGCC,
			MaxGCC:     p.Toolchain.MaxGCC,
			CFlags:     p.Toolchain.CFlags,
			KCFlags:    p.Toolchain.KCFlags,
			HostCFlags: p.Toolchain.HostCFlags,
			MakeVars:   p.Toolchain.MakeVars,
			Target:     p.Toolchain.Target,
			Image:      p.Toolchain.Image,
		},
	}
	for _, f := range p.Config.Fragments {
		r.Fragments = append(r.Fragments, kernels.Fragment{Name: f.Name, Data: f.Data})
	}
	// Debian moves the last number of its package's version; what the source
	// itself says is what is built.
	if src.Version != "" {
		r.Version = src.Version
	}
	return r, nil
}
