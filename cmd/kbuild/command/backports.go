// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/runv-legacy/runv-legacy/backports"
)

func (a *app) backportsCommand() *cobra.Command {
	var (
		profile string
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "backports --profile NAME|FILE.yaml",
		Short: "List the patches that a profile applies to its kernel",
		Args:  exactly(0, "no arguments; name the profile with --profile"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := loadProfile(profile)
			if err != nil {
				return err
			}
			patches, err := series(p)
			if err != nil {
				return err
			}
			if asJSON {
				if patches == nil {
					patches = []backports.Patch{}
				}
				return writeJSON(a.stdout, patches)
			}
			return writePatches(a.stdout, patches)
		},
	}
	cmd.Flags().StringVar(&profile, "profile", "", "profile: a name, an alias, or a YAML file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = cmd.RegisterFlagCompletionFunc("profile", completeProfiles)
	return cmd
}

func writePatches(w io.Writer, patches []backports.Patch) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSET\tMAINLINE\tKERNELS\tBRINGS\tPROOF")
	for _, p := range patches {
		mainline := strings.TrimSpace(p.MainlineCommit + " " + p.MainlineVersion)
		if mainline == "" {
			mainline = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", p.ID, p.Set, mainline, p.Kernels, p.Brings, p.Proof)
	}
	return t.Flush()
}

func writeLine(w io.Writer, s string) error {
	_, err := fmt.Fprintln(w, s)
	return err
}
