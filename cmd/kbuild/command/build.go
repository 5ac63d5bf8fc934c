// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runv-legacy/runv-legacy/artifact"
	"github.com/runv-legacy/runv-legacy/backports"
	"github.com/runv-legacy/runv-legacy/initrd"
	"github.com/runv-legacy/runv-legacy/kernels"
	"github.com/runv-legacy/runv-legacy/profiles"
)

// buildFlags are the flags of the root command.
type buildFlags struct {
	sourceFlags
	jobs       int
	output     string
	tag        string
	withDebug  bool
	withSource bool
}

// buildCommand is the root command: kbuild without a subcommand builds.
func (a *app) buildCommand() *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Args: exactly(0, "no arguments; name the profile with --profile"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.jobs < 1 {
				return usagef("--jobs %d: want 1 or more", f.jobs)
			}
			digest, err := a.build(cmd.Context(), f)
			if err != nil {
				return err
			}
			return writeLine(a.stdout, digest)
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.IntVarP(&f.jobs, "jobs", "j", defaultJobs(), "compile with so many processes")
	flags.StringVarP(&f.output, "output", "o", "", "also write vmlinuz, initrd.img, config, System.map, vmlinux and guest.json into this folder")
	flags.StringVarP(&f.tag, "tag", "t", "", "name in the store (default kernels:PROFILE)")
	flags.BoolVar(&f.withDebug, "with-debug", false, "add vmlinux with its symbols to the image")
	flags.BoolVar(&f.withSource, "with-source", false, "attach the kernel's source tarball to the image, not only where it is")
	return cmd
}

// localName is the name of a profile's image in the store.
func localName(profile string) string { return "kernels:" + profile }

// build builds a profile's image into the store and gives its manifest's digest.
func (a *app) build(ctx context.Context, f buildFlags) (string, error) {
	p, err := loadProfile(f.profile)
	if err != nil {
		return "", err
	}
	cache, err := a.openCache()
	if err != nil {
		return "", err
	}
	store, err := a.openStore()
	if err != nil {
		return "", err
	}
	if err := store.CheckWritable(ctx); err != nil {
		return "", err
	}
	show := newDisplay(a.stderr)
	defer show.close()
	progress := show.kernels
	options := kernels.BuildOptions{Jobs: f.jobs}
	if a.verbose {
		options.Verbose = a.stderr
		progress = nil // make's own lines say more, and would break the bar
	}
	recipe, err := a.recipe(ctx, cache, p, f.source, progress)
	if err != nil {
		return "", err
	}
	kernel, err := cache.Build(ctx, recipe, options, progress)
	if err != nil {
		return "", err
	}
	ramdisk, err := initrd.Build(ctx, initrd.Options{})
	if err != nil {
		return "", err
	}
	img, err := image(p, recipe, kernel, ramdisk, f.withDebug)
	if err != nil {
		return "", err
	}
	tag := f.tag
	if tag == "" {
		tag = localName(p.Name)
	}
	opts := artifact.AddOptions{Created: sourceDate(), Source: correspondingSource(p, recipe, f.withSource)}
	desc, err := store.Add(ctx, img, tag, opts)
	if err != nil {
		return "", err
	}
	if f.output != "" {
		if err := writeOutput(f.output, img, kernel); err != nil {
			return "", fmt.Errorf("--output: %w", err)
		}
	}
	show.say("image      %s %s", tag, kernel.KernelRelease)
	return desc.Digest.String(), nil
}

// image is the guest image of a built kernel.
func image(p *profiles.Profile, r kernels.Recipe, b *kernels.Build, ramdisk []byte, debug bool) (artifact.Image, error) {
	arch, err := artifact.Architecture(p.Kernel.Arch)
	if err != nil {
		return artifact.Image{}, err
	}
	configSHA256, err := fileSHA256(b.Config)
	if err != nil {
		return artifact.Image{}, err
	}
	console, params := splitConsole(p.Guest.Append)
	img := artifact.Image{
		Guest: artifact.Guest{
			SchemaVersion: artifact.SchemaVersion,
			Kernel:        artifact.KernelInfo{Version: r.Version, Release: b.KernelRelease},
			OS:            "linux",
			Architecture:  arch,
			Profile:       p.Name,
			Features:      p.Guest.Features,
			Boot:          artifact.Boot{Append: params, Console: console},
			Machine: artifact.Machine{
				Type: p.Machine.Type, Virtio: p.Machine.Virtio, CPU: p.Machine.CPU, ACPI: p.Machine.ACPI,
				MinMemoryMiB: p.Machine.MinMemoryMiB, MaxVCPUs: p.Machine.MaxVCPUs,
			},
			Provenance: artifact.Provenance{
				Source:        provenanceSource(r.Source),
				Patches:       provenancePatches(r.Patches),
				BackportSets:  p.Backports.Sets,
				Compiler:      b.Compiler,
				KbuildVersion: Version,
				ConfigSHA256:  configSHA256,
				BuildKey:      b.Key,
			},
		},
		Kernel:    artifact.FileAt(b.Image),
		Initrd:    artifact.Bytes(ramdisk),
		Config:    artifact.FileAt(b.Config),
		SystemMap: artifact.FileAt(b.SystemMap),
	}
	if debug {
		img.Debug = artifact.FileAt(b.Vmlinux)
	}
	return img, nil
}

// splitConsole takes the guest's console out of its parameters: it is a field
// of its own in the artifact.
func splitConsole(params []string) (console string, rest []string) {
	for _, p := range params {
		if name, ok := strings.CutPrefix(p, "console="); ok && console == "" {
			console = name
			continue
		}
		rest = append(rest, p)
	}
	return console, rest
}

func provenanceSource(s kernels.Source) artifact.Source {
	src := artifact.Source{Digest: s.Digest, Verification: s.Verification, Package: s.Package}
	if strings.Contains(s.Origin, "://") {
		src.URL = s.Origin
	}
	return src
}

func provenancePatches(patches []backports.Patch) []artifact.Patch {
	var list []artifact.Patch
	for _, p := range patches {
		list = append(list, artifact.Patch{ID: p.ID, SHA256: p.SHA256, Mainline: p.MainlineCommit})
	}
	return list
}

// sourceDate is the time of https://reproducible-builds.org/specs/source-date-epoch/,
// or none: the time of day must not get into a digest.
func sourceDate() time.Time {
	if n, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(n, 0).UTC()
	}
	return time.Time{}
}
