package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

// defaultPath serves a job whose environment has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// execSearching does what execvp(3) does, by trying: within the job's root and
// with its credentials only the kernel knows what can be executed.
func execSearching(args []string, attr *syscall.ProcAttr) (int, error) {
	first := error(syscall.ENOENT)
	for _, path := range candidates(args[0], attr.Env) {
		pid, err := syscall.ForkExec(path, args, attr)
		switch {
		case err == nil:
			return pid, nil
		case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
			continue
		case errors.Is(err, syscall.EACCES):
			first = err
			continue
		}
		return 0, explainExec(args[0], attr, err)
	}
	return 0, explainExec(args[0], attr, first)
}

func candidates(name string, env []string) []string {
	if strings.ContainsRune(name, '/') {
		return []string{name}
	}
	search := defaultPath
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			search = v
		}
	}
	var paths []string
	for _, dir := range strings.Split(search, ":") {
		if dir == "" {
			dir = "."
		}
		paths = append(paths, dir+"/"+name)
	}
	return paths
}

// explainExec finds the reason behind an error that may come from the chroot,
// the chdir, the credentials or the exec.
func explainExec(name string, attr *syscall.ProcAttr, err error) error {
	root := attr.Sys.Chroot
	if root != "" && !isDir(root) {
		return callError(protocol.CodeInvalid, "root: %s is no folder", root)
	}
	if !isDir(filepath.Join("/", root, attr.Dir)) {
		return callError(protocol.CodeInvalid, "cwd: %s is no folder", attr.Dir)
	}
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
		for _, path := range candidates(name, attr.Env) {
			if exists(filepath.Join("/", root, path)) {
				return callError(protocol.CodeNotFound, "%s: is there, but its interpreter (the loader named in the ELF file, or after #!) is not", path)
			}
		}
		return callError(protocol.CodeNotFound, "%s: no such program", name)
	case errors.Is(err, syscall.ENOEXEC):
		return callError(protocol.CodeAccess, "%s: not a program for this machine", name)
	case errors.Is(err, syscall.E2BIG):
		return callError(protocol.CodeTooLarge, "%s: arguments and environment are too long", name)
	}
	return errnoError(err, name)
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
