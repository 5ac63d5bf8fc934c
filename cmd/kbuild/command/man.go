// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes the man pages; it is for packagers, hence hidden.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write kbuild's man pages into a folder",
		Hidden: true,
		Args:   exactly(1, "a folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("make the folder for the man pages: %w", err)
			}
			// A fixed date keeps packages reproducible.
			date := time.Unix(0, 0).UTC()
			header := &doc.GenManHeader{
				Title: "KBUILD", Section: "1", Date: &date,
				Source: "runv-legacy " + Version, Manual: "runv-legacy",
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, header, args[0])
		},
	}
}
