// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Request is a line of a fragment: it asks for a symbol.
type Request struct {
	Symbol string // without CONFIG_
	Value  string // as in a Config
	File   string
	Line   int
}

// Fragment is a part of a .config, its requests in the order of its lines.
type Fragment []Request

// FragmentError is a line of a fragment that is neither a setting nor a comment.
// conf would pass over it in silence.
type FragmentError struct {
	File string
	Line int
	Msg  string
}

func (e *FragmentError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg) }

// ParseFragment reads a fragment; name is the file that its requests and errors
// name. A line that asks for nothing and is no comment is a *FragmentError.
func ParseFragment(name string, r io.Reader) (Fragment, error) {
	var f Fragment
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		text := strings.TrimSpace(lines.Text())
		symbol, value, ok := parseSetting(text)
		switch {
		case ok && !isValue(value):
			return nil, &FragmentError{name, n, fmt.Sprintf("CONFIG_%s has the value %s; use y, m, n, a number or a \"string\"", symbol, value)}
		case ok:
			f = append(f, Request{symbol, value, name, n})
		case text != "" && !strings.HasPrefix(text, "#"):
			return nil, &FragmentError{name, n, fmt.Sprintf("%q is not a setting; use CONFIG_NAME=value or # CONFIG_NAME is not set", text)}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, &FragmentError{name, n + 1, err.Error()}
	}
	return f, nil
}

// isValue says whether conf understands a value.
func isValue(v string) bool {
	if strings.HasPrefix(v, `"`) {
		return len(v) >= 2 && strings.HasSuffix(v, `"`)
	}
	return v != "" && !strings.ContainsFunc(v, func(r rune) bool { return !isWordRune(r) && r != '-' && r != '+' })
}

// Merge gives what fragments ask for together: the last request of each symbol,
// in the order of the symbols' first ones.
func Merge(fragments ...Fragment) Fragment {
	at := map[string]int{}
	var merged Fragment
	for _, f := range fragments {
		for _, q := range f {
			if i, ok := at[q.Symbol]; ok {
				merged[i] = q
				continue
			}
			at[q.Symbol] = len(merged)
			merged = append(merged, q)
		}
	}
	return merged
}

// String is the fragment as conf reads it (KCONFIG_ALLCONFIG).
func (f Fragment) String() string {
	var b strings.Builder
	for _, q := range f {
		b.WriteString(setting(q.Symbol, q.Value))
	}
	return b.String()
}
