// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"fmt"
	"strings"
)

// term is one condition of an entry, and the block that states it.
type term struct {
	e     *expr
	from  *entry
	shown bool // only whether the prompt is shown depends on it
}

// terms are all conditions under which an entry counts (prompt false), or can be
// set by the user (prompt true), outermost block first.
func (e *entry) terms(prompt bool) []term {
	var all []term
	if e.parent != nil {
		all = e.parent.terms(prompt)
	}
	add := func(shown bool, exprs ...*expr) {
		for _, x := range exprs {
			for _, t := range x.terms() {
				all = append(all, term{t, e, shown})
			}
		}
	}
	add(false, e.depends...)
	if prompt {
		add(true, e.visible...)
		add(true, e.asked)
	}
	return all
}

// plan is a way to make something true: what to ask for, why, and how much it is.
type plan struct {
	cost int      // settings to change; impossible or more: there is no way
	sets []string // "NET=y"
	text string   // why it is not true, from here down to the cause
}

// impossible is the cost of what no setting can bring.
const impossible = 1000

// planner looks for the least change of a .config that makes things true.
type planner struct {
	tree  *Tree
	final Config
	seen  map[string]bool // symbols that are being looked at: cycles
	steps int
}

// Limits of the search. The tree of causes is shallow; what is deeper than this
// would not be read by anybody.
const (
	maxCauses = 10
	maxSteps  = 20_000
)

// merge adds what b needs to a.
func (a plan) merge(b plan) plan {
	out := plan{cost: a.cost, sets: append([]string(nil), a.sets...), text: a.text}
	for _, s := range b.sets {
		if !contains(out.sets, s) {
			out.sets = append(out.sets, s)
			out.cost++
		}
	}
	if b.cost >= impossible {
		out.cost = max(out.cost, b.cost)
	}
	return out
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}

// unmet are the terms that are, or may be, less than want.
func (p *planner) unmet(terms []term, want tristate) (sure, perhaps []term) {
	for _, t := range terms {
		switch s := p.tree.eval(t.e, p.final); {
		case s.hi < want:
			sure = append(sure, t)
		case s.lo < want:
			perhaps = append(perhaps, t)
		}
	}
	return sure, perhaps
}

// raise plans to bring an expression that is too low to want.
func (p *planner) raise(e *expr, want tristate) plan {
	if s := p.tree.eval(e, p.final); s.lo >= want {
		return plan{}
	}
	if p.steps++; p.steps > maxSteps {
		return plan{cost: impossible}
	}
	switch e.kind {
	case exprSymbol:
		return p.raiseSymbol(e.name, want)
	case exprNot:
		return p.lower(e.l)
	case exprAnd:
		l, r := p.raise(e.l, want), p.raise(e.r, want)
		out := l.merge(r)
		out.text = joinTexts("; ", l.text, r.text)
		return out
	case exprOr:
		best := plan{cost: impossible + 1}
		for _, alt := range e.alternatives() {
			if a := p.raise(alt, want); a.cost < best.cost {
				best = a
			}
		}
		if best.text != "" {
			best.text = "the nearest of them: " + best.text
		}
		return best
	case exprMacro:
		return plan{cost: impossible, text: e.name + " is for the compiler to say"}
	}
	return plan{cost: impossible, text: e.String() + " does not hold" + p.actual(e)}
}

// actual says what the symbols of a comparison are.
func (p *planner) actual(e *expr) string {
	if e.kind != exprCompare {
		return ""
	}
	for _, side := range []*expr{e.l, e.r} {
		if side.kind == exprSymbol && p.tree.symbols[side.name] != nil {
			return ", it is " + p.tree.value(side.name, p.final)
		}
	}
	return ""
}

// lower plans to bring an expression to n.
func (p *planner) lower(e *expr) plan {
	if e.kind == exprSymbol && p.tree.defined(e.name) != nil {
		text := e.name + " is " + p.tree.value(e.name, p.final)
		if by := p.selectors(e.name); len(by) > 0 {
			return plan{cost: impossible, text: text + ", selected by " + strings.Join(by, ", ")}
		}
		return plan{cost: 1, sets: []string{e.name + "=n"}, text: text}
	}
	return plan{cost: impossible, text: e.String() + " holds"}
}

// selectors are the symbols that are on and select name.
func (p *planner) selectors(name string) []string {
	var by []string
	s := p.tree.symbols[name]
	if s == nil {
		return nil
	}
	for _, sel := range s.by {
		on := p.tree.eval(&expr{kind: exprSymbol, name: sel.from.symbol.name}, p.final)
		if on.lo > no && p.tree.eval(sel.cond, p.final).hi > no && !contains(by, sel.from.symbol.name) {
			by = append(by, sel.from.symbol.name)
		}
	}
	return by
}

// raiseSymbol plans to bring a symbol to want: by asking for it, by asking for
// what selects it, or by its default.
func (p *planner) raiseSymbol(name string, want tristate) plan {
	s := p.tree.defined(name)
	state := p.state(name)
	switch {
	case s == nil:
		return plan{cost: impossible, text: name + " does not exist in this kernel"}
	case s.env != "" || p.seen[name] || len(p.seen) >= maxCauses:
		return plan{cost: impossible, text: name + " " + state}
	}
	p.seen[name] = true
	defer delete(p.seen, name)
	best := plan{cost: impossible + 1}
	for _, d := range s.defs {
		if d.prompt == "" {
			continue
		}
		if a := p.raiseEntry(d, s, want); a.cost < best.cost {
			best = a
			best.text = joinTexts(": ", name+" "+state, a.text)
		}
	}
	if best.cost < impossible {
		return best
	}
	if a := p.raiseUnasked(s, want); a.cost < best.cost {
		best = a
		best.text = fmt.Sprintf("%s %s and has no prompt that could be reached: %s", name, state, a.text)
		if !s.asked() {
			best.text = fmt.Sprintf("%s %s and has no prompt: %s", name, state, a.text)
		}
	}
	if best.text == "" {
		best.text = name + " " + state
	}
	return best
}

// raiseEntry plans to have a definition with a prompt take a value of want.
func (p *planner) raiseEntry(d *entry, s *symbol, want tristate) plan {
	out := plan{cost: 1, sets: []string{s.name + "=" + p.settable(s, want)}}
	sure, perhaps := p.unmet(d.terms(true), p.limit(s, want))
	var texts []string
	for _, t := range append(sure, perhaps...) {
		a := p.raise(t.e, p.limit(s, want))
		out = out.merge(a)
		if len(texts) < 3 {
			texts = append(texts, p.describe(d, t, a))
		}
	}
	out.text = strings.Join(texts, "; ")
	if d.parent.kind == entryChoice {
		if other := p.chosen(d.parent, s); other != "" {
			out = out.merge(plan{sets: []string{other + "=n"}})
			out.text = joinTexts("; ", out.text, choiceText(d.parent, other))
		}
	}
	return out
}

// settable is the value to ask for to have a symbol be at least want.
func (p *planner) settable(s *symbol, want tristate) string {
	if s.typ != "tristate" || p.final.Value("MODULES") != "y" {
		return "y"
	}
	return want.String()
}

// limit is how high a symbol's dependencies must be for it to be want: a bool may
// be y where they are m (menu.c, "rewrite_m"; symbol.c, sym_calc_value).
func (p *planner) limit(s *symbol, want tristate) tristate {
	if want == yes && s.typ != "tristate" {
		return mod
	}
	return want
}

// raiseUnasked plans to have a symbol selected or defaulted to want.
func (p *planner) raiseUnasked(s *symbol, want tristate) plan {
	best := plan{cost: impossible + 1, text: "nothing selects it"}
	for _, sel := range s.by {
		by := sel.from.symbol.name
		if p.seen[by] {
			continue
		}
		a := p.raiseSymbol(by, want)
		if sel.cond != nil {
			c := p.raise(sel.cond, want)
			text := a.text
			if c.text != "" {
				text = joinTexts("; ", text, "if "+sel.cond.String()+": "+c.text)
			}
			a = a.merge(c)
			a.text = text
		}
		if a.cost < best.cost {
			best = a
			best.text = "it is selected by " + relative(by, a.text)
		}
	}
	for _, d := range s.defs {
		for _, def := range d.defaults {
			if a := p.raiseDefault(d, def, want); a.cost < best.cost {
				best = a
				best.text = joinTexts(": ", "its default is "+def.value.String(), a.text)
			}
		}
	}
	return best
}

// raiseDefault plans to have a default count, and be want.
func (p *planner) raiseDefault(d *entry, def conditional, want tristate) plan {
	terms := d.terms(false)
	for _, t := range append(def.cond.terms(), def.value.terms()...) {
		terms = append(terms, term{e: t, from: d})
	}
	var out plan
	var texts []string
	for _, t := range terms {
		a := p.raise(t.e, want)
		out = out.merge(a)
		if a.text != "" && len(texts) < 3 {
			texts = append(texts, a.text)
		}
	}
	out.text = strings.Join(texts, "; ")
	if out.cost == 0 {
		// It should be on, and is not: an earlier default counts, or a choice.
		out = plan{cost: impossible, text: "which does not count"}
	}
	return out
}

// asked says whether a symbol has a prompt at all.
func (s *symbol) asked() bool {
	for _, d := range s.defs {
		if d.prompt != "" {
			return true
		}
	}
	return false
}

// relative turns "X is not set: ..." into "X, which is not set: ...".
func relative(name, text string) string {
	if rest, ok := strings.CutPrefix(text, name+" "); ok {
		return name + ", which " + rest
	}
	return text
}

func joinTexts(sep string, texts ...string) string {
	var some []string
	for _, t := range texts {
		if t != "" {
			some = append(some, t)
		}
	}
	return strings.Join(some, sep)
}
