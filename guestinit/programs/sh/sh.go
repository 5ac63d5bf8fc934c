// Command sh is a small shell: mvdan.cc/sh's interpreter of POSIX shell and
// most of bash, with the usual command line.
//
//	sh [-ils] [-OPTIONS OF set] [FILE [ARG...]]
//	sh [-l] [-OPTIONS OF set] -c COMMAND [NAME [ARG...]]
//
// u-root's own shell for this interpreter, gosh, has neither -c nor, in its
// small form, a prompt.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// options are the command line, taken apart.
type options struct {
	command     string
	hasCommand  bool
	interactive bool
	login       bool
	stdin       bool
	set         []string // for the set builtin: "-e", "-x"
	name        string   // $0
	args        []string // $1 and on
}

func main() {
	os.Exit(run(os.Args))
}

func run(argv []string) int {
	opts, err := parseArgs(argv)
	if err != nil {
		return report(err, 2)
	}
	params := append(append([]string{}, opts.set...), "--")
	runner, err := interp.New(
		interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
		interp.Params(append(params, opts.args...)...),
		interp.Interactive(opts.interactive),
	)
	if err != nil {
		return report(err, 2)
	}
	if opts.login {
		if code := profile(runner); runner.Exited() {
			return code
		}
	}
	switch {
	case opts.hasCommand:
		return source(runner, strings.NewReader(opts.command), opts.name)
	case opts.interactive:
		return dialogue(runner)
	case opts.stdin:
		return source(runner, os.Stdin, opts.name)
	}
	file, err := os.Open(opts.name)
	if err != nil {
		return report(err, 127)
	}
	defer file.Close()
	return source(runner, file, opts.name)
}

func parseArgs(argv []string) (options, error) {
	opts := options{name: argv[0]}
	args := argv[1:]
	wantCommand := false
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		for _, letter := range arg[1:] {
			switch letter {
			case 'c':
				wantCommand = true
			case 'i':
				opts.interactive = true
			case 'l':
				opts.login = true
			case 's':
				opts.stdin = true
			case 'o':
				if len(args) == 0 {
					return opts, errors.New("-o needs an option's name")
				}
				opts.set = append(opts.set, arg[:1]+"o", args[0])
				args = args[1:]
			default:
				opts.set = append(opts.set, arg[:1]+string(letter))
			}
		}
	}
	return opts.positional(args, wantCommand)
}

func (opts options) positional(args []string, wantCommand bool) (options, error) {
	if wantCommand {
		if len(args) == 0 {
			return opts, errors.New("-c needs a command")
		}
		opts.command, opts.hasCommand = args[0], true
		args = args[1:]
	}
	if !opts.stdin && len(args) > 0 {
		opts.name = args[0]
		args = args[1:]
	} else if !opts.hasCommand {
		opts.stdin = true
		opts.interactive = opts.interactive || term.IsTerminal(int(os.Stdin.Fd()))
	}
	opts.args = args
	return opts, nil
}

// source runs a whole script. It is read to its end before it starts: the
// interpreter runs an EXIT trap at the end of each thing it is given.
func source(runner *interp.Runner, script io.Reader, name string) int {
	prog, err := syntax.NewParser().Parse(script, name)
	if err != nil {
		return report(err, 2)
	}
	return execute(runner, prog)
}

func profile(runner *interp.Runner) int {
	file, err := os.Open("/etc/profile")
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		return report(err, 1)
	}
	defer file.Close()
	return source(runner, file, file.Name())
}

// execute runs a node and gives its exit code.
func execute(runner *interp.Runner, node syntax.Node) int {
	code, _ := interruptible(runner, node)
	return code
}

// interruptible is execute for a dialogue. An interrupt from the terminal goes
// to the whole foreground group and ends what runs; the interpreter then counts
// as having exited, which a shell at a terminal must not.
func interruptible(runner *interp.Runner, node syntax.Node) (code int, interrupted bool) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := runner.Run(ctx, node)
	var status interp.ExitStatus
	switch {
	case ctx.Err() != nil:
		return 128 + int(syscall.SIGINT), true
	case err == nil:
		return 0, false
	case errors.As(err, &status):
		return int(status), false
	}
	return report(err, 1), false
}

func report(err error, code int) int {
	fmt.Fprintln(os.Stderr, "sh:", err)
	return code
}
