package main

import (
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// dialogue reads statements from the terminal, with line editing and history,
// until it ends or a statement exits.
func dialogue(runner *interp.Runner) int {
	lines := newLineReader(runner)
	code, over := 0, false
	for {
		lines.first = true
		err := lines.parser.Interactive(lines, func(stmts []*syntax.Stmt) bool {
			for _, stmt := range stmts {
				var interrupted bool
				if code, interrupted = interruptible(runner, stmt); interrupted {
					break // the rest of the line goes with it
				}
				if over = runner.Exited(); over {
					return false
				}
			}
			lines.first = !lines.parser.Incomplete()
			return true
		})
		if over || err == nil || errors.Is(err, io.EOF) {
			return code
		}
		// A line that is no shell is forgotten, not the shell's end.
		code = report(err, 2)
	}
}

// lineReader gives the parser one edited line at a time. The terminal is raw
// only while a line is edited, so that commands find it as they expect it.
type lineReader struct {
	runner *interp.Runner
	parser *syntax.Parser
	edit   *term.Terminal
	raw    bool // standard input is a terminal
	first  bool // the next line starts a statement
	rest   []byte
}

func newLineReader(runner *interp.Runner) *lineReader {
	fd := int(os.Stdin.Fd())
	l := &lineReader{runner: runner, parser: syntax.NewParser(), raw: term.IsTerminal(fd)}
	l.edit = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{&interruptFilter{r: os.Stdin}, os.Stdout}, "")
	// A serial line has no size; the editor's own 80 by 24 then stays.
	if width, height, err := term.GetSize(fd); err == nil && width > 0 && height > 0 {
		l.edit.SetSize(width, height)
	}
	return l
}

func (l *lineReader) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		line, err := l.line()
		if err != nil {
			return 0, err
		}
		l.rest = []byte(line + "\n")
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *lineReader) line() (string, error) {
	prompt := "> "
	if l.first {
		prompt = l.prompt()
	}
	l.first = false
	l.edit.SetPrompt(prompt)
	if l.raw {
		fd := int(os.Stdin.Fd())
		state, err := term.MakeRaw(fd)
		if err != nil {
			return "", err
		}
		defer term.Restore(fd, state)
	}
	line, err := l.edit.ReadLine()
	if err != nil {
		return "", err
	}
	return strings.ReplaceAll(line, "\x00", ""), nil
}

func (l *lineReader) prompt() string {
	end := " $ "
	if os.Geteuid() == 0 {
		end = " # "
	}
	return l.runner.Dir + end
}

// interruptFilter turns the interrupt character, which ends term.Terminal's
// input, into what a shell does with it: give up the line.
type interruptFilter struct {
	r    io.Reader
	rest []byte
}

func (f *interruptFilter) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		buf := make([]byte, max(len(p)/2, 1))
		n, err := f.r.Read(buf)
		for _, c := range buf[:n] {
			if c == 0x03 { // ^C: ^E ^U, to the line's end and erase it, and enter
				f.rest = append(f.rest, 0x05, 0x15, '\r')
				continue
			}
			f.rest = append(f.rest, c)
		}
		if len(f.rest) == 0 {
			return 0, err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}
