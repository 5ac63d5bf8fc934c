// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import "strings"

// value is what a macro expands to. known is false where a shell would have to be
// asked; text is then the macro as it was written.
type value struct {
	text  string
	known bool
}

// Limits of macro expansion. 6.1 nests four deep.
const (
	maxExpansion = 64 << 10
	maxNesting   = 32
)

// expandOne expands the macro that s begins with: $(name), $(function,args), or
// $NAME as up to 4.17 (Documentation/kbuild/kconfig-macro-language.rst). Functions
// are not evaluated: the kernel's all end in $(shell,...).
func (t *Tree) expandOne(s string, nesting int) (value, string) {
	if !strings.HasPrefix(s, "$(") {
		n := 1
		for n < len(s) && isWordRune(rune(s[n])) {
			n++
		}
		if v, ok := t.vars[s[1:n]]; ok && n > 1 {
			return v, s[n:]
		}
		return value{s[:n], n == 1}, s[n:]
	}
	depth, end := 0, len(s)
scan:
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				end = i + 1
				break scan
			}
		}
	}
	whole, rest := s[:end], s[end:]
	inner := strings.TrimSuffix(whole[2:], ")")
	if v, ok := t.vars[inner]; ok {
		return v, rest
	}
	if strings.HasPrefix(inner, "$") && nesting < maxNesting { // $($(name))
		v := t.expand(inner, nesting+1)
		if w, ok := t.vars[v.text]; ok && v.known {
			return w, rest
		}
	}
	return value{whole, false}, rest
}

// expand expands all macros in s.
func (t *Tree) expand(s string, nesting int) value {
	var b strings.Builder
	known := true
	for s != "" && b.Len() < maxExpansion {
		i := strings.IndexByte(s, '$')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		v, rest := t.expandOne(s[i:], nesting)
		b.WriteString(v.text)
		known, s = known && v.known, rest
	}
	return value{b.String(), known}
}

// assign takes a line that sets a variable: NAME = value, := or +=. It is false
// for any other line. Values are expanded at once: later changes of what they
// refer to do not occur in kernels.
func (t *Tree) assign(line string) bool {
	name, text, ok := strings.Cut(line, "=")
	if !ok || strings.ContainsAny(name, "\"'$(") {
		return false
	}
	name = strings.TrimSpace(name)
	add := strings.HasSuffix(name, "+")
	name = strings.TrimSpace(strings.TrimRight(name, ":+"))
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isWordRune(r) && r != '-' }) {
		return false
	}
	v := t.expand(strings.TrimSpace(text), 0)
	if old, ok := t.vars[name]; ok && add {
		v = value{old.text + " " + v.text, old.known && v.known}
	}
	if strings.Contains(text, "$(1)") {
		v.known = false // a function
	}
	if len(v.text) > maxExpansion {
		v = value{name, false}
	}
	t.vars[name] = v
	return true
}
