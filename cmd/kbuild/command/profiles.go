// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/runv-legacy/runv-legacy/profiles"
)

func (a *app) profilesCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "profiles [NAME|FILE.yaml]",
		Short: "List the profiles, or show one with its inheritance resolved",
		Args:  between(0, 1, "at most one profile"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				list, err := profiles.List()
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(a.stdout, list)
				}
				return writeProfiles(a.stdout, list)
			}
			p, err := loadProfile(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, p)
			}
			return writeProfile(a.stdout, p)
		},
		ValidArgsFunction: completeProfiles,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// loadProfile loads a profile and lists the built-in ones when it knows none of
// that name.
func loadProfile(name string) (*profiles.Profile, error) {
	if name == "" {
		return nil, usagef("no profile: name one with --profile; 'kbuild profiles' lists them")
	}
	return profiles.Load(name)
}

func completeProfiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	list, err := profiles.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, p := range list {
		names = append(names, p.Name+"\t"+p.Description)
		for _, alias := range p.Aliases {
			names = append(names, alias+"\t"+p.Description)
		}
	}
	// A file is as good as a name.
	return names, cobra.ShellCompDirectiveDefault
}

func writeProfiles(w io.Writer, list []profiles.Summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tALIASES\tKERNEL\tDESCRIPTION")
	for _, p := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, strings.Join(p.Aliases, ","), p.Version, p.Description)
	}
	return t.Flush()
}

func writeProfile(w io.Writer, p *profiles.Profile) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, format string, args ...any) {
		if s := fmt.Sprintf(format, args...); s != "" {
			fmt.Fprintf(t, "%s:\t%s\n", name, s)
		}
	}
	row("name", "%s", p.Name)
	row("aliases", "%s", strings.Join(p.Aliases, ", "))
	row("description", "%s", p.Description)
	row("extends", "%s", p.Extends)
	row("kernel", "Linux %s%s, %s", p.Kernel.Version, p.Kernel.LocalVersion, p.Kernel.Arch)
	for _, s := range p.Sources {
		if s.Type == profiles.SourceDebian {
			row("source", "Debian package %s (%s)", s.Package, s.Path)
			continue
		}
		row("source", "%s", strings.Join(s.URLs, " "))
		row("  sha256", "%s", s.SHA256)
		if s.PGP != nil {
			row("  signed by", "%s", strings.Join(s.PGP.Fingerprints, " "))
		}
	}
	row("configuration", "%s", p.Config.Base)
	for _, f := range p.Config.Fragments {
		row("  fragment", "%s", f.Name)
	}
	if p.Backports.Series != "" {
		row("backports", "series %s: %s", p.Backports.Series, strings.Join(p.Backports.Sets, ", "))
		row("  left out", "%s", strings.Join(p.Backports.Exclude, ", "))
	}
	row("compiler", "%s", strings.Join(append([]string{p.Toolchain.CC}, p.Toolchain.CFlags...), " "))
	row("boot parameters", "%s", strings.Join(p.Guest.Append, " "))
	row("features", "%s", strings.Join(p.Guest.Features, ", "))
	row("machine", "%s, %s virtio, at least %d MiB, at most %d CPUs",
		p.Machine.Type, p.Machine.Virtio, p.Machine.MinMemoryMiB, p.Machine.MaxVCPUs)
	return t.Flush()
}

// writeJSON prints v indented, with a newline, and without escaping <, > and &.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
