// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

// types are the words that give a symbol its type, "def_" ones a default as well.
var types = map[string]struct {
	typ string
	def bool
}{
	"bool": {"bool", false}, "boolean": {"bool", false}, "def_bool": {"bool", true},
	"tristate": {"tristate", false}, "def_tristate": {"tristate", true},
	"string": {"string", false}, "def_string": {"string", true},
	"int": {"int", false}, "def_int": {"int", true},
	"hex": {"hex", false}, "def_hex": {"hex", true},
}

// attribute reads a line of an entry. It returns why it could not.
func (p *parser) attribute(word string, args []token) string {
	e := p.last
	if e == nil {
		return word + " belongs to no entry"
	}
	if t, ok := types[word]; ok {
		if e.symbol != nil && e.symbol.typ == "" {
			e.symbol.typ = t.typ
		}
		if len(args) == 0 {
			return ""
		}
		if t.def {
			return p.defaultValue(e, args)
		}
		return p.prompt(e, args)
	}
	switch word {
	case "prompt":
		return p.prompt(e, args)
	case "default":
		return p.defaultValue(e, args)
	case "depends", "requires":
		if len(args) > 0 && args[0].text == "on" {
			args = args[1:]
		}
		// "depends on A if B": A counts only where B holds. Neither 2.6.32 nor 6.1
		// has it.
		cond, rest, ok := parseExpr(args)
		if ok && len(rest) > 0 {
			var when *expr
			if when, ok = p.condition(rest); ok {
				cond = &expr{kind: exprOr, l: cond, r: &expr{kind: exprNot, l: when}}
			}
		}
		if !ok {
			return "depends on no expression"
		}
		e.depends = append(e.depends, cond)
	case "visible":
		cond, ok := p.condition(args)
		if !ok {
			return "visible without if"
		}
		if cond != nil {
			e.visible = append(e.visible, cond)
		}
	case "select", "enable", "imply":
		return p.selects(e, word, args)
	case "range":
		return p.valueRange(e, args)
	case "option":
		// option env="NAME"; others matter to conf only.
		if len(args) == 3 && args[0].text == "env" && e.symbol != nil {
			e.symbol.env = args[2].text
		}
	case "optional", "modules", "transitional":
	default:
		return "unknown word " + word
	}
	return ""
}

// condition parses an optional "if EXPR", which must be all that is left.
func (p *parser) condition(args []token) (*expr, bool) {
	if len(args) == 0 {
		return nil, true
	}
	if args[0].text != "if" {
		return nil, false
	}
	return p.expr(args[1:])
}

func (p *parser) prompt(e *entry, args []token) string {
	if len(args) == 0 || args[0].kind == tokenOp {
		return "a prompt without a text"
	}
	cond, ok := p.condition(args[1:])
	e.prompt, e.asked = args[0].text, cond
	if e.prompt == "" {
		e.prompt = " "
	}
	if !ok {
		return "what follows the prompt is not a condition"
	}
	return ""
}

func (p *parser) defaultValue(e *entry, args []token) string {
	v, rest, ok := parseExpr(args)
	if !ok {
		return "a default that is not an expression"
	}
	cond, ok := p.condition(rest)
	if !ok {
		return "what follows the default is not a condition"
	}
	e.defaults = append(e.defaults, conditional{v, cond})
	return ""
}

func (p *parser) selects(e *entry, word string, args []token) string {
	if len(args) == 0 || args[0].kind != tokenWord || !isName(args[0].text) {
		return word + " without a symbol"
	}
	cond, ok := p.condition(args[1:])
	if !ok {
		return "what follows the symbol is not a condition"
	}
	if e.symbol == nil {
		return word + " outside a config"
	}
	target := p.tree.symbol(args[0].text)
	if word == "imply" {
		target.implied = append(target.implied, selection{e, cond})
	} else {
		target.by = append(target.by, selection{e, cond})
	}
	return ""
}

func (p *parser) valueRange(e *entry, args []token) string {
	q := exprParser{tokens: args}
	low, err := q.atom()
	if err != nil {
		return "a range without bounds"
	}
	high, err := q.atom()
	if err != nil {
		return "a range without an upper bound"
	}
	cond, ok := p.condition(q.tokens)
	if !ok {
		return "what follows the range is not a condition"
	}
	e.ranges = append(e.ranges, valueRange{low, high, cond})
	return ""
}
