// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/runv-legacy/runv-legacy/kernels"
)

func (a *app) configCommand() *cobra.Command {
	var (
		f     sourceFlags
		check bool
	)
	cmd := &cobra.Command{
		Use:   "config --profile NAME|FILE.yaml",
		Short: "Print a profile's final .config, or check it against what was asked for",
		Args:  exactly(0, "no arguments; name the profile with --profile"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := loadProfile(f.profile)
			if err != nil {
				return err
			}
			c, err := a.openCache()
			if err != nil {
				return err
			}
			show := newDisplay(a.stderr)
			defer show.close()
			r, err := a.recipe(cmd.Context(), c, p, f.source, show.kernels)
			if err != nil {
				return err
			}
			result, err := c.Configure(cmd.Context(), r, show.kernels)
			if err != nil {
				return err
			}
			show.close()
			if !check {
				_, err = a.stdout.Write(result.Config)
				return err
			}
			if len(result.Problems) > 0 {
				return &kernels.ConfigError{Problems: result.Problems}
			}
			return writeLine(a.stdout, fmt.Sprintf("%s: every symbol is as asked for", p.Name))
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "print no config; fail and name each symbol that is not as asked for")
	return cmd
}
