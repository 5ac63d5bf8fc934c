// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"errors"
	"strings"
)

// tokenKind is the kind of a token of a Kconfig line.
type tokenKind int

const (
	tokenWord   tokenKind = iota // a symbol, a keyword or a bare path
	tokenString                  // without its quotes
	tokenMacro                   // "$(...)" whose value is not known
	tokenOp                      // ( ) ! && || = != < <= > >=
)

type token struct {
	kind tokenKind
	text string
}

// operators are the operators, longer ones before their beginnings.
var operators = []string{"&&", "||", "!=", "<=", ">=", "=", "<", ">", "!", "(", ")"}

// tokenize splits a line, expanding its macros. It stops at a comment.
func (t *Tree) tokenize(line string) ([]token, error) {
	var tokens []token
	for {
		line = strings.TrimLeft(line, " \t\r")
		if line == "" || line[0] == '#' {
			return tokens, nil
		}
		tok, rest, err := t.next(line)
		if err != nil {
			return tokens, err
		}
		tokens, line = append(tokens, tok), rest
	}
}

// next takes one token off a line that begins with it.
func (t *Tree) next(line string) (token, string, error) {
	if line[0] == '"' || line[0] == '\'' {
		return t.quoted(line)
	}
	for _, op := range operators {
		if strings.HasPrefix(line, op) {
			return token{tokenOp, op}, line[len(op):], nil
		}
	}
	var word strings.Builder
	known, rest := true, line
	for rest != "" && !strings.ContainsRune(" \t\r\"'&|=!<>()#", rune(rest[0])) {
		if rest[0] != '$' {
			word.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		v, tail := t.expandOne(rest, 0)
		word.WriteString(v.text)
		known, rest = known && v.known, tail
	}
	if rest == line { // a lone & or |
		return token{}, line, errors.New("unexpected " + line[:1])
	}
	if !known {
		return token{tokenMacro, word.String()}, rest, nil
	}
	if line[0] == '$' && !isName(word.String()) {
		return token{tokenString, word.String()}, rest, nil
	}
	return token{tokenWord, word.String()}, rest, nil
}

// quoted takes a string off a line.
func (t *Tree) quoted(line string) (token, string, error) {
	quote := line[0]
	var text strings.Builder
	known, rest := true, line[1:]
	for rest != "" {
		switch {
		case rest[0] == quote:
			if !known {
				return token{tokenMacro, text.String()}, rest[1:], nil
			}
			return token{tokenString, text.String()}, rest[1:], nil
		case rest[0] == '\\' && len(rest) > 1:
			text.WriteByte(rest[1])
			rest = rest[2:]
		case rest[0] == '$':
			v, tail := t.expandOne(rest, 0)
			text.WriteString(v.text)
			known, rest = known && v.known, tail
		default:
			text.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	return token{}, "", errors.New("a string without an end")
}

// exprParser parses an expression out of tokens.
type exprParser struct {
	tokens []token
	depth  int
}

// maxDepth bounds the parentheses and negations of an expression.
const maxDepth = 200

var errExpr = errors.New("not an expression")

func (p *exprParser) op() string {
	if len(p.tokens) > 0 && p.tokens[0].kind == tokenOp {
		return p.tokens[0].text
	}
	return ""
}

// or parses the whole; && binds closer than ||, comparisons closer than both.
func (p *exprParser) or() (*expr, error) {
	return p.chain("||", exprOr, func() (*expr, error) {
		return p.chain("&&", exprAnd, p.unary)
	})
}

func (p *exprParser) chain(op string, kind exprKind, operand func() (*expr, error)) (*expr, error) {
	l, err := operand()
	for err == nil && p.op() == op {
		p.tokens = p.tokens[1:]
		var r *expr
		r, err = operand()
		l = &expr{kind: kind, l: l, r: r}
	}
	return l, err
}

func (p *exprParser) unary() (*expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errExpr
	}
	defer func() { p.depth-- }()
	switch p.op() {
	case "!":
		p.tokens = p.tokens[1:]
		e, err := p.unary()
		return &expr{kind: exprNot, l: e}, err
	case "(":
		p.tokens = p.tokens[1:]
		e, err := p.or()
		if err == nil && p.op() != ")" {
			err = errExpr
		}
		if err != nil {
			return nil, err
		}
		p.tokens = p.tokens[1:]
		return e, nil
	}
	l, err := p.atom()
	if err != nil {
		return nil, err
	}
	switch op := p.op(); op {
	case "=", "!=", "<", "<=", ">", ">=":
		p.tokens = p.tokens[1:]
		r, err := p.atom()
		return &expr{kind: exprCompare, op: op, l: l, r: r}, err
	}
	return l, nil
}

func (p *exprParser) atom() (*expr, error) {
	if len(p.tokens) == 0 || p.tokens[0].kind == tokenOp {
		return nil, errExpr
	}
	tok := p.tokens[0]
	p.tokens = p.tokens[1:]
	kind := map[tokenKind]exprKind{tokenWord: exprSymbol, tokenString: exprString, tokenMacro: exprMacro}[tok.kind]
	return &expr{kind: kind, name: tok.text}, nil
}
