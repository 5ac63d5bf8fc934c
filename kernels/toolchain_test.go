// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// onlyTools makes PATH a folder that has nothing but the named programs.
func onlyTools(t *testing.T, names ...string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("skipped: %v", err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestMissingToolsAreNamedTogether(t *testing.T) {
	for name, c := range map[string]struct {
		version string
		have    []string
		want    []string // packages
		is      []error
	}{
		"nothing": {"2.6.32.71", nil, []string{"gcc", "make", "binutils", "gzip", "perl"}, []error{ErrNoCompiler, ErrNoTool}},
		"2.6.32 needs neither bc nor flex": {
			"2.6.32.71", []string{"gcc", "as", "ld", "make", "gzip", "perl"}, nil, nil,
		},
		"3.10 needs bc":       {"3.10.108", []string{"gcc", "as", "ld", "make", "gzip", "perl"}, []string{"bc"}, []error{ErrNoTool}},
		"6.1 needs more":      {"6.1.192", []string{"gcc", "as", "ld", "make", "gzip", "perl"}, []string{"bc", "flex", "bison"}, []error{ErrNoTool}},
		"a series' version":   {"6.1", []string{"gcc", "as", "ld", "make", "gzip", "bc", "bison"}, []string{"perl", "flex"}, []error{ErrNoTool}},
		"no compiler":         {"2.6.32.71", []string{"as", "ld", "make", "gzip", "perl"}, []string{"gcc"}, []error{ErrNoCompiler}},
		"binutils are one":    {"2.6.32.71", []string{"gcc", "make", "gzip", "perl"}, []string{"binutils"}, []error{ErrNoTool}},
		"a release candidate": {"4.16-rc1", []string{"gcc", "as", "ld", "make", "gzip", "perl", "bc", "bison"}, []string{"flex"}, []error{ErrNoTool}},
	} {
		t.Run(name, func(t *testing.T) {
			onlyTools(t, c.have...)
			err := CheckTools(t.Context(), Toolchain{}, c.version)
			if c.want == nil {
				if err != nil {
					t.Errorf("error %v, want none", err)
				}
				return
			}
			var te *ToolchainError
			if !errors.As(err, &te) {
				t.Fatalf("error %v, want a *ToolchainError", err)
			}
			var got []string
			for _, m := range te.Missing {
				got = appendOnce(got, m.Package)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("missing %v, want %v", got, c.want)
			}
			if want := "apt-get install " + strings.Join(c.want, " "); !strings.HasSuffix(err.Error(), want) {
				t.Errorf("error %q does not end in %q", err, want)
			}
			for _, e := range []error{ErrNoCompiler, ErrNoTool} {
				if errors.Is(err, e) != slices.Contains(c.is, e) {
					t.Errorf("error is %q: %v", e, errors.Is(err, e))
				}
			}
		})
	}
}

func TestMissingHeaderIsNamed(t *testing.T) {
	requireTools(t)
	// A compiler that finds no header of its own.
	dir := t.TempDir()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Fatal(err)
	}
	cc := filepath.Join(dir, "gcc-bare")
	if err := os.WriteFile(cc, []byte("#!/bin/sh\nexec "+gcc+" -nostdinc \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	err = CheckTools(t.Context(), Toolchain{CC: cc}, "2.6.32.71")
	if err == nil || !strings.Contains(err.Error(), "stdio.h") || !strings.HasSuffix(err.Error(), "apt-get install libc6-dev") {
		t.Errorf("error %v", err)
	}
}

func TestCompilerIsIdentified(t *testing.T) {
	requireTools(t)
	c, err := ProbeCompiler(t.Context(), Toolchain{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Major < 4 || !strings.Contains(c.Name, "gcc") || !strings.Contains(c.Linker, "ld") ||
		!strings.Contains(c.Assembler, "assembler") || !strings.Contains(c.Compressor, "gzip") || len(c.Details) != 64 {
		t.Errorf("compiler %+v", c)
	}
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("GCC_EXEC_PREFIX", "/nonexistent/")
	again, err := ProbeCompiler(t.Context(), Toolchain{MinGCC: c.Major, MaxGCC: c.Major})
	if err != nil || again != c {
		t.Errorf("in another environment %+v, %v", again, err)
	}
	_, err = ProbeCompiler(t.Context(), Toolchain{MinGCC: c.Major + 1})
	if !errors.Is(err, ErrCompilerVersion) {
		t.Errorf("error %v, want ErrCompilerVersion", err)
	}
}

func TestGCCMajor(t *testing.T) {
	for verbose, want := range map[string]int{
		"Using built-in specs.\ngcc version 12.2.0 (Debian 12.2.0-14+deb12u1) \n": 12,
		"gcc version 4.8.5 20150623 (Red Hat 4.8.5-44) (GCC) \n":                  4,
		"gcc version 14 (x)\n": 14,
	} {
		if got, err := gccMajor(verbose); err != nil || got != want {
			t.Errorf("gccMajor(%q) = %d, %v, want %d", verbose, got, err, want)
		}
	}
	if _, err := gccMajor("Debian clang version 14.0.6\n"); !errors.Is(err, ErrNoCompiler) {
		t.Errorf("clang: %v, want ErrNoCompiler", err)
	}
}
