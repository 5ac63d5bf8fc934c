// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/runv-legacy/runv-legacy/artifact"
)

func isNotFound(err error) bool { return errors.Is(err, artifact.ErrNotFound) }

func defaultJobs() int { return runtime.NumCPU() }

func (a *app) gcCommand() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what no name in the store leads to",
		Args:  exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.openStore()
			if err != nil {
				return err
			}
			r, err := s.GC(cmd.Context(), artifact.GCOptions{DryRun: dry})
			if err != nil {
				return err
			}
			verb := "freed"
			if dry {
				verb = "would free"
			}
			return writeLine(a.stdout, fmt.Sprintf("%s %s: %d blobs, %d interrupted downloads",
				verb, bytesText(r.Freed), r.Blobs, r.Partial))
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would go")
	return cmd
}

func (a *app) verifyCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [REF]",
		Short: "Read every blob of an image, or of all, and check it",
		Args:  between(0, 1, "at most one image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.openStore()
			if err != nil {
				return err
			}
			ref, more := "", []string(nil)
			if len(args) > 0 {
				ref, more = candidates(args[0])
			}
			report, err := s.Verify(cmd.Context(), ref, more...)
			if err != nil {
				return err
			}
			if asJSON {
				if err := writeJSON(a.stdout, report); err != nil {
					return err
				}
				return report.Err()
			}
			if err := report.Err(); err != nil {
				return err
			}
			return writeLine(a.stdout, fmt.Sprintf("ok: %d images, %d blobs, %s",
				report.Images, report.Blobs, bytesText(report.Bytes)))
		},
		ValidArgsFunction: a.completeRefs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
