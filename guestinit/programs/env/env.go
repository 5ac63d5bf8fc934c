// Command env prints the environment, or runs a command in a changed one.
//
//	env [-i] [-u NAME] [NAME=VALUE...] [COMMAND [ARG...]]
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

func main() {
	flags := flag.NewFlagSet("env", flag.ExitOnError)
	empty := flags.Bool("i", false, "start with an empty environment")
	flags.Func("u", "remove a variable", os.Unsetenv)
	flags.Parse(os.Args[1:])
	if *empty {
		os.Clearenv()
	}
	args := flags.Args()
	for len(args) > 0 && strings.Contains(args[0], "=") {
		name, value, _ := strings.Cut(args[0], "=")
		if err := os.Setenv(name, value); err != nil {
			fail(125, err)
		}
		args = args[1:]
	}
	if len(args) == 0 {
		for _, v := range os.Environ() {
			fmt.Println(v)
		}
		return
	}
	path, err := find(args[0])
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			fail(127, err)
		}
		fail(126, err)
	}
	fail(126, syscall.Exec(path, args, os.Environ()))
}

// find looks a command up in the new environment's PATH or, where that has
// none, in the folders that execvp(3) then takes.
func find(name string) (string, error) {
	if _, set := os.LookupEnv("PATH"); !set {
		os.Setenv("PATH", "/sbin:/bin:/usr/sbin:/usr/bin")
		defer os.Unsetenv("PATH")
	}
	return exec.LookPath(name)
}

// fail ends with the codes that POSIX gives env: 127 for a command that is not
// there, 126 for one that cannot run.
func fail(code int, err error) {
	fmt.Fprintln(os.Stderr, "env:", err)
	os.Exit(code)
}
