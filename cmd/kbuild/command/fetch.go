// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"path/filepath"

	"github.com/spf13/cobra"
)

func (a *app) fetchCommand() *cobra.Command {
	var f sourceFlags
	cmd := &cobra.Command{
		Use:   "fetch --profile NAME|FILE.yaml",
		Short: "Get and verify a profile's source, and keep it for later builds",
		Long: `Get and verify a profile's source, and keep it in the cache: later builds of
that profile need neither the network nor --source. With --source the copy comes
from a local folder or tarball, for sites without a way out. Prints the source's
digest on stdout.`,
		Args: exactly(0, "no arguments; name the profile with --profile"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := loadProfile(f.profile)
			if err != nil {
				return err
			}
			c, err := a.openCache()
			if err != nil {
				return err
			}
			local := f.source
			if local != "" {
				if local, err = filepath.Abs(local); err != nil {
					return err
				}
			}
			show := newDisplay(a.stderr)
			defer show.close()
			src, err := c.ImportSource(cmd.Context(), sourceSpec(p), local, show.kernels)
			if err != nil {
				return err
			}
			show.say("Linux %s, verified: %s", src.Version, src.Verification)
			return writeLine(a.stdout, src.Digest)
		},
	}
	f.add(cmd)
	return cmd
}
