// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildTime is when every kernel says it was built. It is the epoch, and not the
// time of the source, because a DIR has none that means anything.
const buildTime = "Thu Jan  1 00:00:00 UTC 1970"

// cleanEnv is the environment of everything this package runs: the user's PATH
// and TMPDIR, and nothing else of theirs. CFLAGS, MAKEFLAGS, CPATH, GCC_EXEC_PREFIX,
// KCONFIG_* and the like would change the kernel behind the key's back.
// shims, if not empty, is put before PATH.
func cleanEnv(shims string) []string {
	path := os.Getenv("PATH")
	if shims != "" {
		path = shims + string(os.PathListSeparator) + path
	}
	env := []string{
		"PATH=" + path,
		"LC_ALL=C",
		"TZ=UTC",
		"KBUILD_BUILD_TIMESTAMP=" + buildTime,
		"KBUILD_BUILD_USER=kbuild",
		"KBUILD_BUILD_HOST=runv-legacy",
		"KBUILD_BUILD_VERSION=1",
		"SOURCE_DATE_EPOCH=0",
		"KCONFIG_NOTIMESTAMP=1", // conf of 2.6.x writes the time into .config
	}
	if tmp := os.Getenv("TMPDIR"); tmp != "" {
		env = append(env, "TMPDIR="+tmp)
	}
	return env
}

// shimScripts are programs that kernels run to find out who builds them, where
// and when, and that no variable overrides in all of them: scripts/mkcompile_h
// asks whoami, hostname and dnsdomainname until 2.6.39 made KBUILD_BUILD_USER
// and KBUILD_BUILD_HOST, and `date +%T` until LINUX_COMPILE_TIME went in the same
// release. They answer alike on every host.
func shimScripts() (map[string]string, error) {
	date, err := exec.LookPath("date")
	if err != nil {
		return nil, fmt.Errorf("find the program date: %w", err)
	}
	return map[string]string{
		"whoami":        "#!/bin/sh\necho kbuild\n",
		"hostname":      "#!/bin/sh\necho runv-legacy\n",
		"dnsdomainname": "#!/bin/sh\nexit 0\n",
		"domainname":    "#!/bin/sh\nexit 0\n",
		// A date that is given (-d, --date, -r) is converted, any other is the epoch.
		"date": "#!/bin/sh\ncase \" $*\" in\n*\" -d\"*|*\" --date\"*|*\" -r\"*|*\" --reference\"*) exec " +
			date + " \"$@\" ;;\nesac\nexec " + date + " -u -d @0 \"$@\"\n",
	}, nil
}

// fixedTimeHeader is included into usr/gen_init_cpio.c, which stamps the archive
// that is linked into the kernel with the time of the build. (6.x has an option
// for it, -t, which this leaves alone.)
const fixedTimeHeader = "#include <time.h>\n#define time(t) ((time_t)0)\n"

// fixedTimeFile is fixedTimeHeader's name beside the shims.
const fixedTimeFile = "fixed-time.h"

// writeShims fills a new folder with the programs above.
func writeShims(dir string) error {
	scripts, err := shimScripts()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of build shims: %w", err)
	}
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			return fmt.Errorf("write build shim: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, fixedTimeFile), []byte(fixedTimeHeader), 0o644); err != nil {
		return fmt.Errorf("write build shim: %w", err)
	}
	return nil
}

// makeVars are the variables of make's command line. All of them reach every
// sub-make through MAKEFLAGS.
func (w *workTree) makeVars(r Recipe, c Compiler) []string {
	t := r.Toolchain
	cc := append([]string{t.cc()}, t.CFlags...)
	// Not all paths in a kernel build are relative: 2.6.32 says -I$(CURDIR)/arch/...,
	// so that BUG() in a header holds the build's folder, and debug information
	// always names it. The option is gcc 8's.
	if c.Major >= 8 {
		cc = append(cc, "-ffile-prefix-map="+w.src()+"=.")
	}
	vars := []string{
		"ARCH=" + r.Arch,
		"CC=" + strings.Join(cc, " "),
		"HOSTCC=" + strings.Join(append([]string{t.cc()}, t.HostCFlags...), " "),
		// Set and empty: no "+" for a source tree that is a git repository
		// (scripts/setlocalversion).
		"LOCALVERSION=",
		"HOSTCFLAGS_gen_init_cpio.o=-include " + filepath.Join(w.shims(), fixedTimeFile),
	}
	if len(t.KCFlags) > 0 {
		vars = append(vars, "KCFLAGS="+strings.Join(t.KCFlags, " "))
	}
	for _, name := range sortedKeys(t.MakeVars) {
		vars = append(vars, name+"="+t.MakeVars[name])
	}
	return vars
}
