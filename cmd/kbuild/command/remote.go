// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runv-legacy/runv-legacy/artifact"
)

func (a *app) pushCommand() *cobra.Command {
	var opts artifact.RemoteOptions
	cmd := &cobra.Command{
		Use:   "push [REF] DEST",
		Short: "Push a guest image, and what is attached to it, to a registry",
		Long: `Push a guest image, and what is attached to it (SBOM, source), to an OCI
registry. Credentials come from Docker's configuration. Without REF the image is
the one that DEST's tag names: 'kbuild push registry.example/kernels:2.6.32'
pushes kernels:2.6.32. Prints the manifest's digest on stdout.`,
		Args: between(1, 2, "an image and a destination"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.openStore()
			if err != nil {
				return err
			}
			dest := args[len(args)-1]
			ref, err := a.pushed(cmd, s, args)
			if err != nil {
				return err
			}
			opts.UserAgent = "kbuild/" + Version
			show := newTransfer(a.stderr, "push")
			defer show.close()
			if _, err := s.Push(cmd.Context(), ref, dest, opts, show.event); err != nil {
				return remoteError(err)
			}
			r, err := s.Resolve(cmd.Context(), ref)
			if err != nil {
				return err
			}
			show.done(dest)
			return writeLine(a.stdout, r.Manifest.Digest.String())
		},
		ValidArgsFunction: a.completeRefs,
	}
	cmd.Flags().BoolVar(&opts.PlainHTTP, "plain-http", false, "speak HTTP without TLS to a registry that is not on loopback")
	return cmd
}

// pushed finds the image to push, and gives a reference that the store knows.
func (a *app) pushed(cmd *cobra.Command, s *artifact.Store, args []string) (string, error) {
	first, more := candidates(args[0])
	if len(args) == 1 {
		// The destination may be a name of the store's, as after a pull or
		// --tag; else its tag says which.
		if tag := tagOf(args[0]); tag != "" {
			name, names := candidates(tag)
			more = append(append(more, localName(tag)), append(names, name)...)
		}
	}
	r, err := s.Resolve(cmd.Context(), first, more...)
	if err != nil {
		return "", err
	}
	if r.Name != "" {
		return r.Name, nil
	}
	return r.Manifest.Digest.String(), nil
}

// tagOf is the tag of a registry reference, or empty.
func tagOf(ref string) string {
	name := ref[strings.LastIndexByte(ref, '/')+1:]
	name, _, _ = strings.Cut(name, "@")
	_, tag, _ := strings.Cut(name, ":")
	return tag
}

func (a *app) pullCommand() *cobra.Command {
	var opts artifact.RemoteOptions
	cmd := &cobra.Command{
		Use:   "pull REF",
		Short: "Pull a guest image from a registry into the local store",
		Long: `Pull a guest image from an OCI registry into the local store, under its
reference or the name given with --tag. An interrupted pull is continued by the
next one. Prints the manifest's digest on stdout.`,
		Args: exactly(1, "one image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.openStore()
			if err != nil {
				return err
			}
			opts.UserAgent = "kbuild/" + Version
			show := newTransfer(a.stderr, "pull")
			defer show.close()
			digest, err := s.Pull(cmd.Context(), args[0], opts, show.event)
			if err != nil {
				return remoteError(err)
			}
			show.done(args[0])
			return writeLine(a.stdout, digest.String())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&opts.PlainHTTP, "plain-http", false, "speak HTTP without TLS to a registry that is not on loopback")
	flags.BoolVar(&opts.Referrers, "with-attachments", false, "also pull what is attached: SBOM, source, signatures")
	flags.StringVarP(&opts.As, "tag", "t", "", "name in the store (default the reference)")
	return cmd
}

// remoteError gives what went wrong on the way its exit code, unless the fault
// is on this side.
func remoteError(err error) error {
	for _, ours := range []error{
		artifact.ErrInvalidReference, artifact.ErrNoSpace, artifact.ErrReadOnly, artifact.ErrPlatform,
	} {
		if errors.Is(err, ours) {
			return err
		}
	}
	var ref *artifact.RefError
	if errors.As(err, &ref) { // the local store's
		return err
	}
	return registryError{err}
}

// transfer shows the progress of a push or a pull: the sum over all blobs,
// several of which may be under way at once.
type transfer struct {
	*display
	stage   string
	total   int64
	blobs   map[string]int64 // bytes so far
	skipped int
}

func newTransfer(w io.Writer, stage string) *transfer {
	return &transfer{display: newDisplay(w), stage: stage, blobs: map[string]int64{}}
}

func (t *transfer) event(e artifact.Event) {
	id := e.Digest.String()
	switch e.Kind {
	case artifact.EventPlan:
		t.total = e.Total
	case artifact.EventSkipped, artifact.EventMounted:
		t.skipped++
		t.blobs[id] = e.Total
	case artifact.EventStart, artifact.EventBytes:
		t.blobs[id] = e.Done
	case artifact.EventDone:
		t.blobs[id] = e.Total
	case artifact.EventRetry:
		t.say("%-10s trying again: %v", t.stage, e.Err)
		return
	}
	var sum int64
	for _, n := range t.blobs {
		sum += n
	}
	t.display.transfer(t.stage, sum, t.total)
}

func (t *transfer) done(name string) {
	t.close()
	t.say("%-10s %s, %s, %d of %d blobs were there already", t.stage, name, bytesText(t.total), t.skipped, len(t.blobs))
}
