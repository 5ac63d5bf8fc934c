// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"cmp"
	"strconv"
	"strings"
)

// tristate is a value of the kernel's three-valued logic: n < m < y.
type tristate int

const (
	no tristate = iota
	mod
	yes
)

// span is what is known of an expression's value: it is no less than lo and no
// more than hi. What only a shell could tell is [no, yes].
type span struct{ lo, hi tristate }

var unknown = span{no, yes}

// exprKind is the kind of an expression.
type exprKind int

const (
	exprSymbol  exprKind = iota // name
	exprString                  // name, a constant
	exprMacro                   // name, "$(...)" that needs a shell
	exprNot                     // l
	exprAnd                     // l, r
	exprOr                      // l, r
	exprCompare                 // l op r
)

// expr is an expression of the Kconfig language
// (Documentation/kbuild/kconfig-language.rst, "Menu dependencies").
type expr struct {
	kind exprKind
	name string
	op   string
	l, r *expr
}

// String writes an expression as Kconfig files do.
func (e *expr) String() string {
	switch e.kind {
	case exprString:
		return strconv.Quote(e.name)
	case exprNot:
		if e.l.kind == exprAnd || e.l.kind == exprOr || e.l.kind == exprCompare {
			return "!(" + e.l.String() + ")"
		}
		return "!" + e.l.String()
	case exprAnd:
		return e.l.inside(exprOr) + " && " + e.r.inside(exprOr)
	case exprOr:
		return e.l.inside(exprAnd) + " || " + e.r.inside(exprAnd)
	case exprCompare:
		return e.l.String() + " " + e.op + " " + e.r.String()
	}
	return e.name
}

// inside is the expression as an operand, in parentheses if it is of kind k.
func (e *expr) inside(k exprKind) string {
	if e.kind == k {
		return "(" + e.String() + ")"
	}
	return e.String()
}

// terms splits a conjunction; nil is the empty one.
func (e *expr) terms() []*expr {
	switch {
	case e == nil:
		return nil
	case e.kind == exprAnd:
		return append(e.l.terms(), e.r.terms()...)
	}
	return []*expr{e}
}

// alternatives splits a disjunction.
func (e *expr) alternatives() []*expr {
	if e.kind == exprOr {
		return append(e.l.alternatives(), e.r.alternatives()...)
	}
	return []*expr{e}
}

// eval evaluates an expression under a final .config; nil is y.
func (t *Tree) eval(e *expr, c Config) span {
	if e == nil {
		return span{yes, yes}
	}
	switch e.kind {
	case exprSymbol:
		v := toTristate(t.value(e.name, c))
		return span{v, v}
	case exprString:
		v := toTristate(e.name)
		return span{v, v}
	case exprMacro:
		return unknown
	case exprNot:
		s := t.eval(e.l, c)
		return span{yes - s.hi, yes - s.lo}
	case exprAnd:
		l, r := t.eval(e.l, c), t.eval(e.r, c)
		return span{min(l.lo, r.lo), min(l.hi, r.hi)}
	case exprOr:
		l, r := t.eval(e.l, c), t.eval(e.r, c)
		return span{max(l.lo, r.lo), max(l.hi, r.hi)}
	}
	return t.compare(e, c)
}

// compare evaluates a comparison.
func (t *Tree) compare(e *expr, c Config) span {
	if e.l.kind == exprMacro || e.r.kind == exprMacro {
		return unknown
	}
	l, r := t.operand(e.l, c), t.operand(e.r, c)
	order := strings.Compare(l, r)
	if a, aerr := strconv.ParseInt(l, 0, 64); aerr == nil {
		if b, berr := strconv.ParseInt(r, 0, 64); berr == nil {
			order = cmp.Compare(a, b)
		}
	}
	holds := false
	switch e.op {
	case "=":
		holds = order == 0
	case "!=":
		holds = order != 0
	case "<":
		holds = order < 0
	case "<=":
		holds = order <= 0
	case ">":
		holds = order > 0
	case ">=":
		holds = order >= 0
	}
	if holds {
		return span{yes, yes}
	}
	return span{no, no}
}

// operand is a symbol's or constant's value as text. A name that no file defines
// is a constant (expr.c: an undefined symbol has its name as its value).
func (t *Tree) operand(e *expr, c Config) string {
	if e.kind == exprSymbol && t.symbols[e.name] != nil {
		return unquote(t.value(e.name, c))
	}
	return e.name
}

// value is a symbol's value in the final .config.
func (t *Tree) value(name string, c Config) string {
	switch name {
	case "y", "m", "n":
		return name
	}
	if s := t.symbols[name]; s != nil && s.env != "" {
		return t.vars[s.env].text
	}
	return c.Value(name)
}

func toTristate(v string) tristate {
	switch v {
	case "y":
		return yes
	case "m":
		return mod
	}
	return no
}

func (t tristate) String() string { return [...]string{"n", "m", "y"}[t] }

// unquote takes the quotes and backslashes off a string of a .config.
func unquote(v string) string {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return v
	}
	var b strings.Builder
	for i := 1; i < len(v)-1; i++ {
		if v[i] == '\\' && i+1 < len(v)-1 {
			i++
		}
		b.WriteByte(v[i])
	}
	return b.String()
}
