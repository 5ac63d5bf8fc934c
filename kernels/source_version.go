// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Version gives the version of the kernel tree in dir as its Makefile has it:
// VERSION.PATCHLEVEL.SUBLEVEL and EXTRAVERSION. A folder that is no kernel tree
// is a *SourceError of kind SourceNotKernel.
func Version(dir string) (string, error) {
	path := filepath.Join(dir, "Makefile")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", notKernel(dir, "it has no Makefile")
	}
	if err != nil {
		return "", fmt.Errorf("read the kernel's version: %w", err)
	}
	defer f.Close()
	v, err := makefileVersion(f)
	if err != nil {
		return "", notKernel(dir, err.Error())
	}
	return v, nil
}

// makefileVersion reads the version out of a kernel's top Makefile. The
// assignments are its first, after at most a licence line or two.
func makefileVersion(r io.Reader) (string, error) {
	part := map[string]string{}
	lines := bufio.NewScanner(io.LimitReader(r, 64<<10))
	for n := 0; n < 40 && lines.Scan(); n++ {
		name, value, ok := strings.Cut(lines.Text(), "=")
		name = strings.TrimSpace(name)
		if _, have := part[name]; ok && !have {
			part[name] = strings.TrimSpace(value)
		}
	}
	for _, name := range []string{"VERSION", "PATCHLEVEL"} {
		if _, err := strconv.ParseUint(part[name], 10, 16); err != nil {
			return "", fmt.Errorf("its Makefile sets no %s", name)
		}
	}
	v := part["VERSION"] + "." + part["PATCHLEVEL"]
	if part["SUBLEVEL"] != "" {
		v += "." + part["SUBLEVEL"]
	}
	return v + part["EXTRAVERSION"], nil
}

func notKernel(path, why string) error {
	return &SourceError{Kind: SourceNotKernel, Path: path, Msg: "is not Linux source: " + why, Fix: "give a kernel tree, or a tarball of one"}
}

// checkVersion compares a source's version with the spec's. Debian's package
// moves on within a series, so only the series counts for it.
func checkVersion(spec SourceSpec, path, got string, debian bool) error {
	want := spec.Version
	if want == "" || got == want || debian && series(got) == series(want) {
		return nil
	}
	return &SourceError{
		Kind: SourceVersion, Path: path, Got: got, Want: want,
		Msg: fmt.Sprintf("is Linux %s, but profile %s is for %s", got, spec.Name, want),
		Fix: "give the source of " + want + ", or a profile whose kernel.version is " + got,
	}
}

// series is the part of a version that names its line of development: "6.1", and
// "2.6.32" before 3.0.
func series(version string) string {
	n := 2
	if strings.HasPrefix(version, "2.6.") {
		n = 3
	}
	parts := strings.SplitN(version, ".", n+1)
	s := strings.Join(parts[:min(n, len(parts))], ".")
	s, _, _ = strings.Cut(s, "-") // 6.1-rc1
	return s
}

// debianSpec says whether the spec takes Debian's package, and so whatever
// version of the series that has.
func (s SourceSpec) debianSpec() bool {
	for _, c := range s.Candidates {
		if c.Type == CandidateDebian {
			return true
		}
	}
	return false
}
