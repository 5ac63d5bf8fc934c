// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/runv-legacy/runv-legacy/artifact"
	"github.com/runv-legacy/runv-legacy/backports"
	"github.com/runv-legacy/runv-legacy/kernels"
	"github.com/runv-legacy/runv-legacy/machine"
	"github.com/runv-legacy/runv-legacy/profiles"
)

// The exit codes of kbuild. They are documented in docs/kbuild.md and in the
// help of the root command.
const (
	exitOK          = 0
	exitFailure     = 1   // anything without a code of its own: a full disk, a failed check
	exitUsage       = 2   // a flag, an argument or a profile is wrong
	exitBuild       = 3   // patching, configuring or compiling failed
	exitSource      = 4   // the source could not be had, or is not what the profile names
	exitRegistry    = 5   // a registry could not be reached, or gave something wrong
	exitArtifact    = 6   // no such guest image, or it is damaged or for another machine
	exitBoot        = 125 // boot: the guest did not come up or died (a command's own code is passed on)
	exitCannotExec  = 126 // boot: the command is there and cannot be run
	exitNotFound    = 127 // boot: no such command in the guest
	exitInterrupted = 130 // Ctrl-C or SIGTERM
)

const exitHelp = `Exit codes:
  0    done
  1    any failure without a code of its own
  2    a flag, an argument or a profile is wrong
  3    patching, configuring or compiling failed
  4    the source could not be had, or is not what the profile names
  5    a registry could not be reached, or gave something wrong
  6    no such guest image, or it is damaged or for another machine
  125  boot: the guest did not come up, or died
  126  boot: the command is there and cannot be run
  127  boot: no such command in the guest
  130  interrupted
kbuild boot with a command exits with the command's own code otherwise.`

// usageError marks an error of the command line itself.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// codeError carries the exit code of a command that ran in a guest. Its error,
// if any, is printed; the code counts either way.
type codeError struct {
	code int
	err  error
}

func (e codeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}
func (e codeError) Unwrap() error { return e.err }

// registryError marks what went wrong between here and a registry.
type registryError struct{ err error }

func (e registryError) Error() string { return e.err.Error() }
func (e registryError) Unwrap() error { return e.err }

// exitCode sorts an error into kbuild's exit codes.
func exitCode(err error) int {
	var (
		code     codeError
		usage    usageError
		registry registryError
		profile  *profiles.Error
		source   *kernels.SourceError
		config   *kernels.ConfigError
		compile  *kernels.CompileError
		tools    *kernels.ToolchainError
		patch    *backports.ApplyError
		boot     *machine.BootError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return code.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &profile), errors.Is(err, artifact.ErrInvalidReference):
		return exitUsage
	case errors.As(err, &source):
		return exitSource
	case errors.As(err, &config), errors.As(err, &compile), errors.As(err, &patch),
		errors.As(err, &tools):
		return exitBuild
	case errors.As(err, &boot):
		return exitBoot
	case errors.As(err, &registry):
		return exitRegistry
	case errors.Is(err, artifact.ErrNotFound), errors.Is(err, artifact.ErrPlatform),
		errors.Is(err, artifact.ErrInvalid), errors.Is(err, artifact.ErrAmbiguous),
		errors.Is(err, artifact.ErrCorrupt), errors.Is(err, artifact.ErrIncomplete), errors.Is(err, artifact.ErrNotGuest),
		errors.Is(err, artifact.ErrSchema), errors.Is(err, artifact.ErrTitle):
		return exitArtifact
	}
	return exitFailure
}
