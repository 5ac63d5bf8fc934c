// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"path"
	"strings"
)

// skips says what of a kernel's source is not unpacked: the files below a folder
// that no x86 build reads, which are half of 2.6.32's files and a third of 6.1's.
// All of tools, scripts, include, samples and the drivers stays, whatever it is
// for.
//
// Only files of which the reason holds are left out. Whatever make may parse
// (Kconfig*, Kbuild*, Makefile*) is always unpacked: in 6.1 crypto/Kconfig
// sources arch/{arm,arm64,mips,powerpc,s390,sparc}/crypto/Kconfig whatever is
// built, fs/hostfs/Makefile includes arch/um/scripts/Makefile.rules when make
// clean gets there, and the top Makefile descends into Documentation to clean it.
var skips = []struct {
	since, until string // kernel series, "" is open
	dir          string
	others       string // when set, dir's subfolders but this one, and none of dir's own files
	unless       []string
	why          string
}{
	{
		dir: "Documentation", unless: []string{"*.c", "*.h", "*.S"},
		why: "Text, and tools that only documentation targets run. Its programs are kept: " +
			"2.6.32 compiles them with CONFIG_BUILD_DOCSRC.",
	},
	{
		dir: "arch", others: "x86", until: "2.6.27", unless: []string{"include/*"},
		why: "No kernel this old was looked at: keep other architectures' headers to be safe.",
	},
	{
		dir: "arch", others: "x86", since: "2.6.28",
		why: "Another architecture's code. Both in 2.6.32.71 and in 6.1.192 the only files outside arch " +
			"that name one of them are drivers that depend on it (locomolcd: SA1100, alpha-agp: ALPHA, " +
			"omap4iss: ARCH_OMAP4, pinctrl/renesas: SUPERH), selftests, and links in " +
			"scripts/dtc/include-prefixes, which are search paths.",
	},
}

// alwaysKept are the files that make itself may read.
var alwaysKept = []string{"Kconfig*", "Kbuild*", "Makefile*", "*.mk"}

// skipper says which files of a kernel are left out.
type skipper struct {
	version string
	keep    map[string]bool
}

func newSkipper(version string, keep []string) *skipper {
	s := &skipper{version: version, keep: map[string]bool{}}
	for _, k := range keep {
		s.keep[path.Clean(k)] = true
	}
	return s
}

// skip is asked for files and links, not for folders.
func (s *skipper) skip(name string) bool {
	if s.keep[name] || matchAny(alwaysKept, path.Base(name)) {
		return false
	}
	for _, k := range skips {
		below, ok := strings.CutPrefix(name, k.dir+"/")
		if !ok || !s.covers(k.since, k.until) {
			continue
		}
		if k.others != "" {
			sub, rest, ok := strings.Cut(below, "/")
			if !ok || sub == k.others {
				continue
			}
			below = rest
		}
		return !matchAny(k.unless, path.Base(name)) && !matchAny(k.unless, below)
	}
	return false
}

// covers says whether the version is one of since to until, both included.
func (s *skipper) covers(since, until string) bool {
	v := series(s.version)
	return (since == "" || compareVersions(v, since) >= 0) && (until == "" || compareVersions(v, until) <= 0)
}

func matchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
		if dir, ok := strings.CutSuffix(p, "/*"); ok && strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

// compareVersions compares two versions of numbers and dots, like cmp.Compare.
func compareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}
