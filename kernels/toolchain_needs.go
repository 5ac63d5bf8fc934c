// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strconv"
	"strings"
)

var errNotExist = fs.ErrNotExist

// need is a program or a header that some kernels cannot be built without.
type need struct {
	MissingTool
	header bool   // Name is a header that the compiler must find
	from   [2]int // the first version (major, minor) that needs it
	until  [2]int // the first that does not any more; zero: all later ones do
}

// needs is the history of Documentation/Changes (Documentation/process/changes.rst
// since 4.10) as far as x86_64 is concerned.
func needs() []need {
	return []need{
		{MissingTool: MissingTool{Name: "make", Package: "make", Why: "runs the build"}},
		{MissingTool: MissingTool{Name: "ld", Package: "binutils", Why: "links the kernel"}},
		{MissingTool: MissingTool{Name: "as", Package: "binutils", Why: "assembles the kernel"}},
		{MissingTool: MissingTool{Name: "gzip", Package: "gzip", Why: "compresses the kernel"}},
		{MissingTool: MissingTool{Name: "stdio.h", Package: "libc6-dev", Why: "the kernel's own build programs are C"}, header: true},
		// kernel/timeconst.pl became a bc script in 3.9, but other generators
		// (arch/x86's capability flags until 5.12, lib/build_OID_registry) stayed.
		{MissingTool: MissingTool{Name: "perl", Package: "perl", Why: "generates headers"}},
		{MissingTool: MissingTool{Name: "bc", Package: "bc", Why: "generates timeconst.h"}, from: [2]int{3, 9}},
		// Until 4.16 the parsers of kconfig and genksyms came ready made (*_shipped).
		{MissingTool: MissingTool{Name: "flex", Package: "flex", Why: "builds kconfig"}, from: [2]int{4, 16}},
		{MissingTool: MissingTool{Name: "bison", Package: "bison", Why: "builds kconfig"}, from: [2]int{4, 16}},
		// objtool reads objects through libelf; it is built for the ORC unwinder
		// since 4.14.
		{MissingTool: MissingTool{Name: "gelf.h", Package: "libelf-dev", Why: "builds objtool"}, header: true, from: [2]int{4, 14}},
	}
}

// CheckTools looks for everything that a kernel of this version needs to be
// built and returns a *ToolchainError that names all that is missing.
func CheckTools(ctx context.Context, t Toolchain, version string) error {
	v := majorMinor(version)
	var missing []MissingTool
	haveCC := lookPath(t.cc())
	if !haveCC {
		missing = append(missing, compilerTool(t))
	}
	for _, n := range needs() {
		if less(v, n.from) || n.until != [2]int{} && !less(v, n.until) {
			continue
		}
		found := true
		if !n.header {
			found = lookPath(n.Name)
		} else if haveCC {
			found = hasHeader(ctx, t.cc(), n.Name)
		}
		if !found {
			missing = append(missing, n.MissingTool)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("check the build tools: %w", context.Cause(ctx))
	}
	if len(missing) > 0 {
		return &ToolchainError{Missing: missing}
	}
	return nil
}

// lookPath says whether a program is there. One that only a relative entry of PATH
// has is not (exec.ErrDot): make runs in another folder.
func lookPath(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

// hasHeader says whether the compiler finds a header.
func hasHeader(ctx context.Context, cc, header string) bool {
	cmd := exec.CommandContext(ctx, cc, "-E", "-x", "c", "-o", "/dev/null", "-")
	cmd.Env = cleanEnv("")
	cmd.Stdin = strings.NewReader("#include <" + header + ">\n")
	err := cmd.Run()
	var exit *exec.ExitError
	return !errors.As(err, &exit)
}

// majorMinor gives the first two numbers of a kernel version: 4, 16 of 4.16-rc1.
func majorMinor(version string) [2]int {
	var v [2]int
	for i, part := range strings.SplitN(version, ".", 3) {
		if i < len(v) {
			digits := len(part) - len(strings.TrimLeft(part, "0123456789"))
			v[i], _ = strconv.Atoi(part[:digits])
		}
	}
	return v
}

func less(a, b [2]int) bool {
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}
