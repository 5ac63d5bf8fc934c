// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Errors of the toolchain. A [ToolchainError] is each of those that apply.
var (
	// ErrCompilerVersion is returned when the compiler is older or newer than
	// the recipe allows.
	ErrCompilerVersion = errors.New("compiler version not supported")
	// ErrNoCompiler is returned when the recipe's compiler is not installed, or
	// is not a gcc that can be run.
	ErrNoCompiler = errors.New("no compiler")
	// ErrNoTool is returned when another program or header that this version of
	// the kernel needs to be built is not installed.
	ErrNoTool = errors.New("build tool missing")
)

// ToolchainError says what a host lacks to build a kernel, all of it at once.
type ToolchainError struct {
	Missing []MissingTool
}

// MissingTool is one program or header that was not found.
type MissingTool struct {
	Name    string // "flex", "gelf.h"
	Package string // Debian's package that has it, "flex"
	Why     string // what the kernel needs it for
	compile bool
}

// Error names all that is missing and the command that installs it.
func (e *ToolchainError) Error() string {
	var names, packages []string
	for _, m := range e.Missing {
		names = append(names, fmt.Sprintf("%s (%s)", m.Name, m.Why))
		packages = appendOnce(packages, m.Package)
	}
	return fmt.Sprintf("not installed: %s; on Debian: apt-get install %s",
		strings.Join(names, ", "), strings.Join(packages, " "))
}

// Unwrap gives ErrNoCompiler, ErrNoTool or both.
func (e *ToolchainError) Unwrap() []error {
	var errs []error
	for _, m := range e.Missing {
		if m.compile {
			errs = append(errs, ErrNoCompiler)
		} else {
			errs = append(errs, ErrNoTool)
		}
	}
	return errs
}

// Compiler identifies the programs whose version shows in a kernel's bytes.
// perl, bison, bc and the like are not among them: they write C from the
// kernel's own input, the same C in any version that works.
type Compiler struct {
	Name    string // the first line of `gcc --version`
	Major   int    // gcc's major version
	Details string // SHA-256 of `gcc -v`: configure options are defaults of code generation
	// Linker and Assembler are the first lines of `ld -v` and `as --version`,
	// Compressor that of `gzip --version`.
	Linker, Assembler, Compressor string
}

// cc is the compiler's program.
func (t Toolchain) cc() string { return or(t.CC, "gcc") }

// target is the make target.
func (t Toolchain) target() string { return or(t.Target, "bzImage") }

// image is where the target is in a tree.
func (t Toolchain) image() string { return or(t.Image, "arch/x86/boot/bzImage") }

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// ProbeCompiler runs the recipe's compiler, assembler, linker and gzip once to
// identify them. It is what a warm build spends its time on.
func ProbeCompiler(ctx context.Context, t Toolchain) (Compiler, error) {
	var c Compiler
	var verbose string
	cc := compilerTool(t)
	probes := []struct {
		dst  *string
		tool MissingTool
		arg  string
	}{
		{&c.Name, cc, "--version"},
		{&verbose, cc, "-v"},
		{&c.Linker, MissingTool{Name: "ld", Package: "binutils", Why: "links the kernel"}, "-v"},
		{&c.Assembler, MissingTool{Name: "as", Package: "binutils", Why: "assembles the kernel"}, "--version"},
		{&c.Compressor, MissingTool{Name: "gzip", Package: "gzip", Why: "compresses the kernel"}, "--version"},
	}
	// Each is asked to its end: the error names all that is missing.
	errs := make([]error, len(probes))
	var wg sync.WaitGroup
	for i, p := range probes {
		wg.Go(func() { *p.dst, errs[i] = toolOutput(ctx, p.tool.Name, p.arg) })
	}
	wg.Wait()
	missing := &ToolchainError{}
	for i, p := range probes {
		if errors.Is(errs[i], exec.ErrNotFound) && !slices.Contains(missing.Missing, p.tool) {
			missing.Missing = append(missing.Missing, p.tool)
		}
	}
	if len(missing.Missing) > 0 {
		return Compiler{}, missing
	}
	if err := cmp.Or(errs...); err != nil {
		return Compiler{}, fmt.Errorf("ask %s which compiler it is: %w", t.cc(), err)
	}
	sum := sha256.Sum256([]byte(verbose))
	c.Details = hex.EncodeToString(sum[:])
	for _, s := range []*string{&c.Name, &c.Linker, &c.Assembler, &c.Compressor} {
		*s, _, _ = strings.Cut(*s, "\n")
	}
	major, err := gccMajor(verbose)
	if err != nil {
		return Compiler{}, fmt.Errorf("%s (%s): %w; set the profile's toolchain.cc to a gcc", t.cc(), c.Name, err)
	}
	c.Major = major
	return c, t.checkVersion(c)
}

// gccVersionLine is the last line of `gcc -v`; clang's begins with "clang version".
var gccVersionLine = regexp.MustCompile(`(?m)^gcc version (\d+)[. ]`)

// gccMajor finds the major version in the output of `gcc -v`.
func gccMajor(verbose string) (int, error) {
	m := gccVersionLine.FindStringSubmatch(verbose)
	if m == nil {
		return 0, fmt.Errorf("it is not gcc: %w", ErrNoCompiler)
	}
	return strconv.Atoi(m[1])
}

// checkVersion compares c with the recipe's bounds.
func (t Toolchain) checkVersion(c Compiler) error {
	switch {
	case t.MinGCC != 0 && c.Major < t.MinGCC:
		return fmt.Errorf("%s is gcc %d, and this kernel needs gcc %d or newer: %w; set toolchain.cc to a newer one",
			t.cc(), c.Major, t.MinGCC, ErrCompilerVersion)
	case t.MaxGCC != 0 && c.Major > t.MaxGCC:
		return fmt.Errorf("%s is gcc %d, and this kernel is known to build with gcc %d at most: %w; set toolchain.cc to an older one (apt-get install gcc-%d)",
			t.cc(), c.Major, t.MaxGCC, ErrCompilerVersion, t.MaxGCC)
	}
	return nil
}

// compilerTool describes the recipe's compiler. Debian's package of a compiler
// is called like its program.
func compilerTool(t Toolchain) MissingTool {
	return MissingTool{Name: t.cc(), Package: filepath.Base(t.cc()), Why: "compiles the kernel", compile: true}
}

// toolOutput is what a program prints on both its outputs.
func toolOutput(ctx context.Context, name string, arg ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, arg...)
	cmd.Env = cleanEnv("")
	out, err := cmd.CombinedOutput()
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, exec.ErrDot) {
			return "", err
		}
		if errors.Is(err, errNotExist) { // a compiler named by a path
			return "", fmt.Errorf("%w: %w", exec.ErrNotFound, err)
		}
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return string(out), nil
}

func appendOnce(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}
