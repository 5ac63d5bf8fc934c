// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// parser reads Kconfig files into a tree.
type parser struct {
	tree *Tree
	in   *entry // the block that encloses the current line
	last *entry // the entry that attributes belong to

	file  string
	line  int
	lines []string // of file, from line on
	chain []string // the files that are being read
}

// source reads a file and all that it sources.
func (p *parser) source(name string, depth int) error {
	if depth > maxSources || slices.Contains(p.chain, name) {
		return fmt.Errorf("%s: %s sources itself", strings.Join(p.chain, ": "), name)
	}
	text, err := p.tree.read(name)
	if err != nil {
		return err
	}
	inner := &parser{
		tree: p.tree, in: p.in, file: name,
		lines: strings.Split(text, "\n"), chain: append(slices.Clone(p.chain), name),
	}
	outer := p.in
	for {
		line, ok := inner.logical()
		if !ok {
			break
		}
		if err := inner.statement(line, depth); err != nil {
			return err
		}
	}
	if inner.in != outer {
		p.tree.ignore(name, inner.line, "a block is not closed")
	}
	return nil
}

// logical is the next line, with those it continues on.
func (p *parser) logical() (string, bool) {
	if len(p.lines) == 0 {
		return "", false
	}
	line := strings.TrimRight(p.lines[0], " \t\r")
	p.lines, p.line = p.lines[1:], p.line+1
	if !strings.HasSuffix(line, `\`) {
		return line, true
	}
	var b strings.Builder
	for strings.HasSuffix(line, `\`) && len(p.lines) > 0 {
		b.WriteString(strings.TrimSuffix(line, `\`) + " ")
		line = strings.TrimRight(p.lines[0], " \t\r")
		p.lines, p.line = p.lines[1:], p.line+1
	}
	b.WriteString(line)
	return b.String(), true
}

// statement reads one logical line. Its error is fatal; lines that make no sense
// are noted and passed over.
func (p *parser) statement(line string, depth int) error {
	text := strings.TrimSpace(line)
	if text == "" || text[0] == '#' || strings.HasPrefix(text, "$(") && p.macroLine(text) {
		return nil
	}
	// 2.6.32 has both "---help---" and, in drivers/w1, "--- help ---".
	if strings.TrimSpace(strings.Trim(text, "-")) == "help" {
		p.skipHelp()
		return nil
	}
	if p.tree.assign(text) {
		return nil
	}
	tokens, err := p.tree.tokenize(text)
	if err != nil {
		p.tree.ignore(p.file, p.line, err.Error())
		return nil
	}
	if len(tokens) == 0 || tokens[0].kind != tokenWord {
		p.tree.ignore(p.file, p.line, "not a statement")
		return nil
	}
	word, args := tokens[0].text, tokens[1:]
	if ok, err := p.block(word, args, depth); ok {
		return err
	}
	if why := p.attribute(word, args); why != "" {
		p.tree.ignore(p.file, p.line, why)
	}
	return nil
}

// macroLine says whether a line is nothing but a macro, like $(error-if,...).
func (p *parser) macroLine(text string) bool {
	_, rest := p.tree.expandOne(text, 0)
	return strings.TrimSpace(rest) == ""
}

// skipHelp passes over a help text: it ends before the first line that is not
// blank and is indented less than its first.
func (p *parser) skipHelp() {
	indent := -1
	for len(p.lines) > 0 {
		line := p.lines[0]
		if strings.TrimSpace(line) != "" {
			n := indentation(line)
			if indent < 0 {
				indent = n
			}
			if n < indent || n == 0 {
				return
			}
		}
		p.lines, p.line = p.lines[1:], p.line+1
	}
}

// indentation is the width of the blanks a line begins with, tabs to columns of 8.
func indentation(line string) int {
	n := 0
	for _, r := range line {
		switch r {
		case ' ':
			n++
		case '\t':
			n += 8 - n%8
		default:
			return n
		}
	}
	return n
}

// block reads a keyword that begins a block, ends one, or stands alone. It is
// false for any other word.
func (p *parser) block(word string, args []token, depth int) (bool, error) {
	switch word {
	case "config", "menuconfig", "choice", "menu", "comment", "if":
		p.open(word, args)
	case "endchoice", "endmenu", "endif":
		p.end(word)
	case "source", "rsource", "osource", "orsource":
		return true, p.include(word, args, depth)
	case "mainmenu":
		p.last = nil
	default:
		return false, nil
	}
	return true, nil
}

// open begins an entry.
func (p *parser) open(word string, args []token) {
	e := &entry{file: p.file, line: p.line, parent: p.in}
	p.last = e
	switch word {
	case "config", "menuconfig":
		e.kind, e.menu = entryConfig, word == "menuconfig"
		if len(args) != 1 || !isName(args[0].text) {
			p.tree.ignore(p.file, p.line, "a config without a name")
			return
		}
		p.define(e, args[0].text)
		if p.in.kind == entryChoice {
			p.in.members = append(p.in.members, e)
		}
	case "choice":
		e.kind = entryChoice
		if len(args) == 1 && isName(args[0].text) {
			p.define(e, args[0].text)
		}
		p.in = e
	case "menu", "comment":
		e.kind = entryMenu
		if word == "comment" {
			e.kind = entryComment
		}
		if len(args) > 0 {
			e.prompt = args[0].text
		}
		if word == "menu" {
			p.in = e
		}
	case "if":
		e.kind = entryIf
		cond, ok := p.expr(args)
		if !ok {
			p.tree.ignore(p.file, p.line, "if without a condition")
		}
		e.depends = []*expr{cond}
		p.in, p.last = e, nil
	}
}

func (p *parser) define(e *entry, name string) {
	e.symbol = p.tree.symbol(name)
	e.symbol.defs = append(e.symbol.defs, e)
}

// end closes a block.
func (p *parser) end(word string) {
	want := map[string]entryKind{"endchoice": entryChoice, "endmenu": entryMenu, "endif": entryIf}[word]
	p.last = nil
	if p.in.kind != want || p.in.file != p.file {
		p.tree.ignore(p.file, p.line, word+" closes nothing")
		return
	}
	p.in = p.in.parent
}

// include reads what a source statement names.
func (p *parser) include(word string, args []token, depth int) error {
	p.last = nil
	if len(args) != 1 || args[0].kind == tokenMacro {
		p.tree.ignore(p.file, p.line, "a source whose name is not known")
		return nil
	}
	names, err := p.tree.sources(args[0].text, p.file, strings.HasSuffix(word, "rsource"))
	if err != nil {
		return fmt.Errorf("%s:%d: %w", p.file, p.line, err)
	}
	for _, name := range names {
		err := p.source(name, depth+1)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(word, "o") {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s:%d: source %q: %w", p.file, p.line, name, err)
		}
	}
	return nil
}

// expr parses all of tokens as an expression.
func (p *parser) expr(tokens []token) (*expr, bool) {
	e, rest, ok := parseExpr(tokens)
	return e, ok && len(rest) == 0
}

func parseExpr(tokens []token) (*expr, []token, bool) {
	q := exprParser{tokens: tokens}
	e, err := q.or()
	if err != nil {
		return nil, tokens, false
	}
	return e, q.tokens, true
}
