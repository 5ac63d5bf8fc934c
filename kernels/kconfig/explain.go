// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"fmt"
	"strings"
)

// Explanation says why a symbol is not what was asked for.
type Explanation struct {
	// Exists says whether the tree has the symbol, for this architecture.
	Exists bool
	// Similar are the names most like it, if it does not exist.
	Similar []string
	// DefinedAt are the places that define it, "drivers/net/Kconfig:12".
	DefinedAt []string
	// Unmet are the conditions that do not hold, as the files state them.
	Unmet []string
	// Needs are the settings that would mend it, "VIRTUALIZATION=y", if settings
	// can. The symbol itself is not among them.
	Needs []string
	// Text says it all in a sentence that begins with what was asked.
	Text string
}

// Explain says why the symbol sym, with or without CONFIG_, which was asked to be
// want, is something else in the final .config. It is for symbols that are; of one
// that is as asked it says so.
func (t *Tree) Explain(sym, want string, final Config) Explanation {
	name := strings.TrimPrefix(sym, "CONFIG_")
	s := t.defined(name)
	if s == nil {
		return t.missing(name, want)
	}
	x := Explanation{Exists: true}
	for _, d := range s.defs {
		x.DefinedAt = append(x.DefinedAt, d.where())
	}
	p := &planner{tree: t, final: final, seen: map[string]bool{name: true}}
	got := final.Value(name)
	x.Text = fmt.Sprintf("%s=%s wanted, %s: ", name, want, p.state(name))
	switch {
	case got == want:
		x.Text = fmt.Sprintf("%s=%s, as wanted", name, want)
	case badType(s, want):
		x.Text += "it is " + article(s.typ) + ", which " + want + " is no value of"
	case want == "n":
		x.Text += p.whyOn(s)
	case want == "m" && s.typ == "tristate" && final.Value("MODULES") != "y" && t.Defined("MODULES"):
		x.Text += "there are no modules without MODULES=y"
		x.Needs = []string{"MODULES=y"}
	case want == "m" && got == "y":
		x.Text += p.whyOn(s)
	default:
		p.whyOff(s, want, &x)
	}
	return x
}

// badType says whether a value cannot be one of the symbol's type.
func badType(s *symbol, want string) bool {
	quoted := strings.HasPrefix(want, `"`)
	switch s.typ {
	case "bool":
		return want != "y" && want != "n"
	case "tristate":
		return want != "y" && want != "n" && want != "m"
	case "string":
		return !quoted
	case "int", "hex":
		return quoted || strings.Trim(want, "-+0123456789abcdefABCDEFxX") != ""
	}
	return false
}

func article(typ string) string {
	switch typ {
	case "int":
		return "an int"
	case "string":
		return `a string (in double quotes)`
	}
	return "a " + typ
}

// whyOff explains a symbol that is less than wanted, or has another value.
func (p *planner) whyOff(s *symbol, want string, x *Explanation) {
	level := yes
	if want == "m" {
		level = mod
	}
	if !s.asked() {
		a := p.raiseUnasked(s, level)
		x.Text += "it has no prompt and cannot be asked for; " + a.text
		x.Needs = a.needs(s)
		return
	}
	var best plan
	var bestUnmet []string
	for _, d := range s.defs {
		if d.prompt == "" {
			continue
		}
		a := p.raiseEntry(d, s, level)
		if best.text != "" && a.cost >= best.cost {
			continue
		}
		best, bestUnmet = a, nil
		sure, perhaps := p.unmet(d.terms(true), p.limit(s, level))
		for _, t := range append(sure, perhaps...) {
			bestUnmet = append(bestUnmet, t.e.String())
		}
		if a.text == "" {
			best.text = p.whyOther(d, s, want)
		}
	}
	x.Unmet = bestUnmet
	x.Text += best.text
	if x.Needs = best.needs(s); len(x.Needs) > 0 {
		x.Text += "; set " + strings.Join(x.Needs, ", ")
	}
}

// needs are a plan's settings but that of the symbol it is for.
func (a plan) needs(s *symbol) []string {
	if a.cost >= impossible {
		return nil
	}
	var out []string
	for _, set := range a.sets {
		if name, _, _ := strings.Cut(set, "="); name != s.name {
			out = append(out, set)
		}
	}
	return out
}

// whyOther explains a symbol whose dependencies hold.
func (p *planner) whyOther(d *entry, s *symbol, want string) string {
	for _, r := range d.ranges {
		if p.tree.eval(r.cond, p.final).hi > no && (s.typ == "int" || s.typ == "hex") {
			return fmt.Sprintf("it must be between %s and %s", p.tree.operand(r.low, p.final), p.tree.operand(r.high, p.final))
		}
	}
	if by := p.selectors(s.name); len(by) > 0 && toTristate(want) < toTristate(p.final.Value(s.name)) {
		return "it is selected by " + strings.Join(by, ", ")
	}
	return "its dependencies hold (" + d.where() + "); it was not asked for, or something later asked for another value"
}

// whyOn explains a symbol that is more than wanted.
func (p *planner) whyOn(s *symbol) string {
	if by := p.selectors(s.name); len(by) > 0 {
		return "it is selected by " + strings.Join(by, ", ")
	}
	if !s.asked() {
		return "it has no prompt and cannot be asked for; it is on by default" + p.defaultText(s)
	}
	for _, d := range s.defs {
		if d.parent.kind == entryChoice && p.chosen(d.parent, nil) == s.name {
			return "one of the members of " + choiceName(d.parent) + " must be on; ask for another"
		}
	}
	for _, d := range s.defs {
		if d.prompt == "" {
			continue
		}
		sure, perhaps := p.unmet(d.terms(true), mod)
		for _, t := range append(sure, perhaps...) {
			delete(p.seen, s.name)
			a := p.raise(t.e, mod)
			text := "it is on by default" + p.defaultText(s) + " and can only be changed with its prompt, which is not shown: " + p.describe(d, t, a)
			if need := a.needs(s); len(need) > 0 {
				text += "; set " + strings.Join(need, ", ")
			}
			return text
		}
	}
	return "its prompt is shown; something later asked for another value"
}

// defaultText says which default counts.
func (p *planner) defaultText(s *symbol) string {
	for _, d := range s.defs {
		for _, def := range d.defaults {
			if p.tree.eval(def.cond, p.final).hi > no {
				return " (" + d.where() + ": default " + def.value.String() + ")"
			}
		}
	}
	return ""
}

// state says what a symbol is in the final .config.
func (p *planner) state(name string) string {
	if v := p.tree.value(name, p.final); v != "n" {
		return "is " + v
	}
	return "is not set"
}

// describe says which condition of a definition does not hold, who states it, and
// why it does not hold.
func (p *planner) describe(d *entry, t term, a plan) string {
	cause := a.text
	simple := t.e.kind == exprSymbol && strings.HasPrefix(cause, t.e.name+" ")
	if simple {
		cause = "which " + strings.TrimPrefix(cause, t.e.name+" ")
	}
	verb := "depends on "
	switch {
	case t.from.kind == entryMenu && t.shown:
		verb = fmt.Sprintf("its menu %q is visible only with ", t.from.prompt)
	case t.from.kind == entryMenu:
		verb = fmt.Sprintf("its menu %q depends on ", t.from.prompt)
	case t.from.kind == entryIf && p.tree.menuOf(t) != "":
		verb = fmt.Sprintf("its menu %q needs ", p.tree.menuOf(t))
	case t.from.kind == entryIf:
		verb = fmt.Sprintf("the if at %s around it needs ", t.from.where())
	case t.from.kind == entryChoice && t.from != d:
		verb = "its " + choiceName(t.from) + " depends on "
	case t.shown:
		verb = "its prompt is shown only with "
	}
	text := verb + t.e.String()
	switch {
	case cause == "":
		return text
	case simple:
		return text + ", " + cause
	}
	return text + " (" + cause + ")"
}

// menuOf is the prompt of the menu that a term guards: that of the menuconfig of
// its symbol, when the term is of the "if SYMBOL" that follows it in its file.
func (t *Tree) menuOf(g term) string {
	if g.e.kind != exprSymbol || t.symbols[g.e.name] == nil {
		return ""
	}
	for _, d := range t.symbols[g.e.name].defs {
		if d.menu && d.file == g.from.file && d.line < g.from.line {
			return d.prompt
		}
	}
	return ""
}

// chosen is the member of a choice that is on, if it is not s.
func (p *planner) chosen(choice *entry, s *symbol) string {
	for _, m := range choice.members {
		if m.symbol != s && p.final.Value(m.symbol.name) == "y" {
			return m.symbol.name
		}
	}
	return ""
}

func choiceName(c *entry) string {
	if strings.TrimSpace(c.prompt) != "" {
		return fmt.Sprintf("choice %q", c.prompt)
	}
	return "choice at " + c.where()
}

func choiceText(c *entry, other string) string {
	return "of " + choiceName(c) + " (" + c.where() + ") only one member can be on, and " + other + " is"
}
