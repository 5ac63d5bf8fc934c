// Command sha256sum prints the SHA-256 digests of files or of standard input.
//
//	sha256sum [FILE...]
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
)

func main() {
	names := os.Args[1:]
	if len(names) == 0 {
		names = []string{"-"}
	}
	code := 0
	for _, name := range names {
		if err := sum(os.Stdout, name); err != nil {
			fmt.Fprintln(os.Stderr, "sha256sum:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func sum(out io.Writer, name string) error {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%x  %s\n", h.Sum(nil), name)
	return err
}
