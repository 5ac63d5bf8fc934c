// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/runv-legacy/runv-legacy/artifact"
	"github.com/runv-legacy/runv-legacy/profiles"
)

// candidates are the names under which a REF is looked up: itself, and what
// kbuild calls the image of the profile of that name or alias.
func candidates(ref string) (first string, more []string) {
	list, err := profiles.List()
	if err != nil {
		return ref, nil
	}
	for _, p := range list {
		if p.Name == ref {
			return ref, []string{localName(p.Name)}
		}
		for _, alias := range p.Aliases {
			if alias == ref {
				return ref, []string{localName(p.Name)}
			}
		}
	}
	return ref, nil
}

func (a *app) completeRefs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	s, err := a.openStore()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	rows, err := s.List(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, r := range rows {
		if r.Name != "" {
			names = append(names, r.Name+"\tLinux "+r.Release)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) listCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the guest images of the local store",
		Args:    exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.openStore()
			if err != nil {
				return err
			}
			rows, err := s.List(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, append([]artifact.Row{}, rows...))
			}
			return writeRows(a.stdout, rows)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writeRows(w io.Writer, rows []artifact.Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tDIGEST\tKERNEL\tPROFILE\tARCH\tSIZE\tADDED")
	for _, r := range rows {
		name := r.Name
		if name == "" {
			name = "-"
		}
		if r.Problem != "" {
			fmt.Fprintf(t, "%s\t%s\t%s\n", name, shortDigest(r.Digest.String()), r.Problem)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, shortDigest(r.Digest.String()), r.Release,
			r.Profile, r.Architecture, bytesText(r.Size), r.Added.Local().Format(time.DateTime))
	}
	return t.Flush()
}

// shortDigest keeps enough of a digest to name it in this store.
func shortDigest(d string) string {
	algorithm, hex, ok := strings.Cut(d, ":")
	if !ok || len(hex) < 12 {
		return d
	}
	return algorithm + ":" + hex[:12]
}

func (a *app) inspectCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect REF",
		Short: "Show a guest image: kernel, machine needs, provenance, files, attachments",
		Args:  exactly(1, "one image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.openStore()
			if err != nil {
				return err
			}
			first, more := candidates(args[0])
			in, err := s.Inspect(cmd.Context(), first, more...)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, in)
			}
			return writeInspection(a.stdout, in)
		},
		ValidArgsFunction: a.completeRefs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writeInspection(w io.Writer, in artifact.Inspection) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		if s := strings.TrimSpace(fmt.Sprintf(format, args...)); s != "" {
			fmt.Fprintf(t, "%s:\t%s\n", name, s)
		}
	}
	row("name", "%s", in.Name)
	if in.Index != nil {
		row("index", "%s", in.Index.Digest)
	}
	for _, img := range in.Images {
		g, p := img.Guest, img.Guest.Provenance
		row("manifest", "%s", img.Manifest.Digest)
		row("platform", "%s/%s", g.OS, g.Architecture)
		row("kernel", "Linux %s", g.Kernel.Release)
		row("profile", "%s", g.Profile)
		row("features", "%s", strings.Join(g.Features, ", "))
		row("boot parameters", "%s", g.CommandLine())
		row("machine", "%s, %s virtio, at least %d MiB, at most %d CPUs",
			g.Machine.Type, g.Machine.Virtio, g.Machine.MinMemoryMiB, g.Machine.MaxVCPUs)
		row("source", "%s", strings.Join(nonEmpty(p.Source.URL, p.Source.Package, p.Source.Digest, "("+p.Source.Verification+")"), " "))
		row("compiler", "%s", p.Compiler)
		row("built by", "kbuild %s", p.KbuildVersion)
		for _, patch := range p.Patches {
			row("patch", "%s %s", patch.ID, patch.Mainline)
		}
		for _, l := range img.Layers {
			row("file", "%s, %s, %s", l.Annotations["org.opencontainers.image.title"], bytesText(l.Size), l.Digest)
		}
		for _, r := range img.Referrers {
			row("attached", "%s %s", r.Type, r.Manifest.Digest)
		}
	}
	return t.Flush()
}

func nonEmpty(parts ...string) []string {
	var kept []string
	for _, p := range parts {
		if p != "" && p != "()" {
			kept = append(kept, p)
		}
	}
	return kept
}

func (a *app) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm REF...",
		Short: "Take names of images away; gc frees the space",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.openStore()
			if err != nil {
				return err
			}
			for _, ref := range args {
				first, more := candidates(ref)
				names, err := s.Remove(cmd.Context(), first, more...)
				if err != nil {
					return err
				}
				for _, name := range names {
					if err := writeLine(a.stdout, name); err != nil {
						return err
					}
				}
			}
			return nil
		},
		ValidArgsFunction: a.completeRefs,
	}
}

// bootImage finds the image that boot is to run. A profile's image is built
// when the store has none.
func (a *app) bootImage(ctx context.Context, ref, profile string) (artifact.BootFiles, error) {
	s, err := a.openStore()
	if err != nil {
		return artifact.BootFiles{}, err
	}
	if profile == "" {
		first, more := candidates(ref)
		return s.Files(ctx, first, more...)
	}
	p, err := loadProfile(profile)
	if err != nil {
		return artifact.BootFiles{}, err
	}
	name := localName(p.Name)
	img, err := s.Files(ctx, name)
	if isNotFound(err) {
		flags := buildFlags{sourceFlags: sourceFlags{profile: profile}, jobs: defaultJobs()}
		digest, err := a.build(ctx, flags)
		if err != nil {
			return artifact.BootFiles{}, err
		}
		return s.Files(ctx, digest)
	}
	return img, err
}
