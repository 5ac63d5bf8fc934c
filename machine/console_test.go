package machine

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// consoleOf writes text in pieces of n bytes.
func consoleOf(text string, lines, n int) (tail, seen []string) {
	c := newConsole(lines, nil, func(line string) { seen = append(seen, line) })
	for piece := range slices.Chunk([]byte(text), n) {
		c.Write(piece)
	}
	c.finish()
	return c.tail(), seen
}

func TestConsoleLines(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"lines":              {"one\r\ntwo\r\n", []string{"one", "two"}},
		"no newline at end":  {"one\nthe last", []string{"one", "the last"}},
		"blank lines":        {"\n\r\none\n  \n", []string{"one"}},
		"only the last kept": {"1\n2\n3\n4\n5\n6\n", []string{"3", "4", "5", "6"}},
		"escape sequences":   {"\x1b[31mred\x1b[0m\a\x00\n", []string{"[31mred[0m"}},
		"not UTF-8":          {"a\xff\xfeb\n", []string{"ab"}},
		"tab":                {"a\tb\n", []string{"a b"}},
		"a long line is cut": {strings.Repeat("x", 3*maxLine) + "\nnext\n", []string{strings.Repeat("x", maxLine) + "...", "next"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 3, 1 << 20} {
				if got, _ := consoleOf(c.text, 4, n); !slices.Equal(got, c.want) {
					t.Errorf("in pieces of %d: %q, want %q", n, got, c.want)
				}
			}
		})
	}
}

func TestConsoleShowsALineThatIsNotYetWhole(t *testing.T) {
	c := newConsole(4, nil, func(line string) { t.Errorf("%q was taken for a line", line) })
	c.Write([]byte("Calibrating delay loop..."))
	if got := c.tail(); !slices.Equal(got, []string{"Calibrating delay loop..."}) {
		t.Errorf("tail = %q", got)
	}
}

type failingWriter struct{ writes int }

func (w *failingWriter) Write([]byte) (int, error) {
	w.writes++
	return 0, errors.New("disk full")
}

func TestConsoleOutlivesItsLog(t *testing.T) {
	log := &failingWriter{}
	c := newConsole(4, log, func(string) {})
	c.Write([]byte("one\n"))
	c.Write([]byte("two\n"))
	if got := c.tail(); len(got) != 2 || log.writes != 1 {
		t.Errorf("kept %q after %d writes to a log that fails", got, log.writes)
	}
}

func TestConsoleLogIsUntouched(t *testing.T) {
	var log bytes.Buffer
	text := "\x1b[2J\xff\r\nhalf"
	c := newConsole(4, &log, func(string) {})
	c.Write([]byte(text))
	if log.String() != text {
		t.Errorf("log has %q, want %q", log.String(), text)
	}
}

func FuzzConsole(f *testing.F) {
	f.Add([]byte("[    0.000000] Linux version 2.6.32.71\r\nKernel panic - not syncing: x\r\n"), 7)
	f.Add([]byte("\xff\x00\x1b[2J\n\n"), 1)
	f.Add(bytes.Repeat([]byte("x"), 3000), 100)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n < 1 {
			n = 1
		}
		j := judge{signs: signs()}
		tail, seen := consoleOf(string(data), 8, n)
		for _, line := range seen {
			j.see(line)
		}
		if whole, _ := consoleOf(string(data), 8, len(data)+1); !slices.Equal(whole, tail) {
			t.Errorf("in pieces of %d: %q; at once: %q", n, tail, whole)
		}
		if len(tail) > 8 {
			t.Errorf("%d lines kept", len(tail))
		}
		for _, line := range tail {
			if len(line) > maxLine+len("...") || !utf8.ValidString(line) || strings.ContainsAny(line, "\x1b\n\r\x00") {
				t.Errorf("kept %q", line)
			}
		}
		if dead := j.verdict(tail); dead != nil && strings.Contains(dead.Error(), "\n") {
			t.Errorf("%q is more than one line", dead.Error())
		}
	})
}
