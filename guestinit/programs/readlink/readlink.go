// Command readlink prints what symbolic links point to.
//
//	readlink [-n] [-f] FILE...
//
// That of u-root v0.14.0 writes its output to standard input.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	flags := flag.NewFlagSet("readlink", flag.ExitOnError)
	follow := flags.Bool("f", false, "follow every link on the way and print the absolute path")
	bare := flags.Bool("n", false, "print no line end")
	flags.Parse(os.Args[1:])
	if flags.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "readlink: name one or more files")
		os.Exit(2)
	}
	end := "\n"
	if *bare {
		end = ""
	}
	code := 0
	for _, name := range flags.Args() {
		target, err := resolve(name, *follow)
		if err != nil {
			fmt.Fprintln(os.Stderr, "readlink:", err)
			code = 1
			continue
		}
		fmt.Print(target, end)
	}
	os.Exit(code)
}

func resolve(name string, follow bool) (string, error) {
	if !follow {
		return os.Readlink(name)
	}
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(target)
}
