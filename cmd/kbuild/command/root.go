// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

// Package command is kbuild's command line: flags, help, exit codes and the
// wiring of the packages that do the work. Tests call [Main] in-process.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Version is kbuild's own version, which goes into the provenance of what it
// builds. Release builds set it with -ldflags -X.
var Version = "0.1.0-dev"

// app is what all commands share: the standard streams and the global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	cache, store string
	verbose      bool
}

// Main runs kbuild with args (without the program's name) and gives its exit
// code. SIGINT and SIGTERM stop it cleanly; a second one stops it at once.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := exitCode(err)
	var quiet codeError
	if err != nil && !(errors.As(err, &quiet) && quiet.err == nil) {
		if code == exitInterrupted {
			err = errors.New("interrupted; nothing half-done is left behind")
		}
		fmt.Fprintf(stderr, "kbuild: %s\n", strings.TrimSuffix(err.Error(), "\n"))
	}
	return code
}

func (a *app) root() *cobra.Command {
	cmd := a.buildCommand()
	cmd.Use = "kbuild --profile NAME|FILE.yaml"
	cmd.Short = "Build, publish and boot guest images for runv-legacy"
	cmd.Long = `kbuild builds a guest image (a Linux kernel, possibly a very old one, and an
initrd whose process 1 serves containers) from a profile, keeps it in a local
store as an OCI artifact, pushes and pulls it, and boots it in QEMU.

` + exitHelp
	cmd.Example = `  kbuild --profile 2.6.32
  kbuild boot --profile 2.6.32 -- uname -a
  kbuild push 2.6.32 registry.example/kernels:2.6.32`
	cmd.Version = Version
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w; see '%s --help'", err, c.CommandPath())
	})

	flags := cmd.PersistentFlags()
	flags.StringVar(&a.cache, "cache", "", "folder of sources and builds (default $"+envCache+", else the user's cache folder)")
	flags.StringVar(&a.store, "store", "", "folder of guest images (default $"+envStore+", else "+systemStore+" for root)")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "show the whole log of make, and why an accelerator was chosen")

	cmd.AddCommand(
		a.profilesCommand(),
		a.fetchCommand(),
		a.configCommand(),
		a.backportsCommand(),
		a.listCommand(),
		a.inspectCommand(),
		a.removeCommand(),
		a.gcCommand(),
		a.verifyCommand(),
		a.pushCommand(),
		a.pullCommand(),
		a.bootCommand(),
		a.importCommand(),
		a.manCommand(),
	)
	return cmd
}

// exactly is cobra.ExactArgs with our exit code and a word on what is missing.
func exactly(n int, what string) cobra.PositionalArgs {
	return between(n, n, what)
}

func between(low, high int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return usagef("%s takes %s, not %d arguments; see '%s --help'",
				cmd.CommandPath(), what, len(args), cmd.CommandPath())
		}
		return nil
	}
}
