// Command head prints the first lines of files or of standard input.
//
//	head [-n LINES] [-c BYTES] [FILE...]
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
)

func main() {
	fs := flag.NewFlagSet("head", flag.ExitOnError)
	lines := fs.Int64("n", 10, "number of lines")
	bytes := fs.Int64("c", -1, "number of bytes, instead of lines")
	fs.Parse(dashNumber(os.Args[1:]))
	if err := head(os.Stdout, fs.Args(), *lines, *bytes); err != nil {
		fmt.Fprintln(os.Stderr, "head:", err)
		os.Exit(1)
	}
}

// dashNumber turns the old "-20" into "-n 20".
func dashNumber(args []string) []string {
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		if _, err := strconv.ParseUint(args[0][1:], 10, 32); err == nil {
			return append([]string{"-n", args[0][1:]}, args[1:]...)
		}
	}
	return args
}

func head(out io.Writer, names []string, lines, bytes int64) error {
	if len(names) == 0 {
		return part(out, os.Stdin, lines, bytes)
	}
	for i, name := range names {
		if len(names) > 1 {
			if i > 0 {
				fmt.Fprintln(out)
			}
			fmt.Fprintf(out, "==> %s <==\n", name)
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = part(out, f, lines, bytes)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func part(out io.Writer, in io.Reader, lines, bytes int64) error {
	if bytes >= 0 {
		_, err := io.CopyN(out, in, bytes)
		if err == io.EOF {
			return nil
		}
		return err
	}
	r := bufio.NewReader(in)
	for ; lines > 0; lines-- {
		// A slice at a time, so that a file without line ends does not have
		// to fit into the guest's memory.
		for {
			data, err := r.ReadSlice('\n')
			if _, werr := out.Write(data); werr != nil {
				return werr
			}
			if err == io.EOF {
				return nil
			}
			if err == nil {
				break
			}
			if err != bufio.ErrBufferFull {
				return err
			}
		}
	}
	return nil
}
