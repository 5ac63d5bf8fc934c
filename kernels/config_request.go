// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"fmt"
	"slices"
	"strings"
)

// request is one line of a fragment that asks for a symbol.
type request struct {
	symbol   string // "CONFIG_NET"
	value    string // as .config has it; "n" for a symbol that is not to be set
	fragment int    // index in the recipe, or ownRequest
	at       int    // line
}

// ownRequest is the fragment of a request that the package itself makes.
const ownRequest = -1

// line is the request as .config would have it.
func (q request) line() string {
	if q.value == "n" {
		return "# " + q.symbol + " is not set\n"
	}
	return q.symbol + "=" + q.value + "\n"
}

// parseSetting reads one line of a .config or a fragment: "CONFIG_X=value" or
// "# CONFIG_X is not set" (scripts/kconfig/confdata.c, conf_read_simple).
func parseSetting(line string) (symbol, value string, ok bool) {
	line = strings.TrimRight(line, " \t\r\n")
	if name, off := strings.CutSuffix(line, " is not set"); off {
		name, comment := strings.CutPrefix(name, "# ")
		if comment && isSymbol(name) {
			return name, "n", true
		}
		return "", "", false
	}
	symbol, value, ok = strings.Cut(line, "=")
	if !ok || !isSymbol(symbol) {
		return "", "", false
	}
	return symbol, value, true
}

// isSymbol says whether s is CONFIG_ and a name.
func isSymbol(s string) bool {
	name, ok := strings.CutPrefix(s, "CONFIG_")
	return ok && name != "" && !strings.ContainsFunc(name, notSymbolChar)
}

// FragmentError is a line of a fragment that asks for nothing.
type FragmentError struct {
	Fragment string
	Line     int
	Msg      string
}

func (e *FragmentError) Error() string {
	return fmt.Sprintf("%s:%d: %s", e.Fragment, e.Line, e.Msg)
}

// requests reads the recipe's fragments.
func (r Recipe) requests() ([]request, error) {
	var all []request
	for i, f := range r.Fragments {
		n := 0
		for line := range strings.Lines(string(f.Data)) {
			n++
			text := strings.TrimSpace(line)
			symbol, value, ok := parseSetting(text)
			switch {
			case ok && badValue(value):
				return nil, &FragmentError{f.Name, n, fmt.Sprintf("%s has the value %s; use y, m, n, a number or a \"string\"", symbol, value)}
			case ok && r.contradicts(symbol, value):
				return nil, &FragmentError{f.Name, n, fmt.Sprintf("%s=%s contradicts the recipe's local version %q; leave it to that", symbol, value, r.LocalVersion)}
			case ok:
				all = append(all, request{symbol, value, i, n})
			case text != "" && !strings.HasPrefix(text, "#"):
				return nil, &FragmentError{f.Name, n, fmt.Sprintf("%q is not a setting; use CONFIG_NAME=value or # CONFIG_NAME is not set", text)}
			}
		}
	}
	return all, nil
}

// contradicts says whether a setting would change `uname -r` from what r says.
func (r Recipe) contradicts(symbol, value string) bool {
	switch symbol {
	case "CONFIG_LOCALVERSION":
		return r.LocalVersion != "" && value != `"`+r.LocalVersion+`"`
	case "CONFIG_LOCALVERSION_AUTO":
		return value != "n"
	}
	return false
}

// badValue says whether conf would not understand a value, which it passes over
// with a warning at most.
func badValue(v string) bool {
	if strings.HasPrefix(v, `"`) {
		return len(v) < 2 || !strings.HasSuffix(v, `"`)
	}
	return v == "" || strings.ContainsFunc(v, notValueChar)
}

// merged gives the requests as they count: the last one of each symbol, in the
// order of the symbols' first ones, and the release's suffix.
func (j *job) merged() []request {
	last := map[string]int{}
	var out []request
	for _, q := range append(slices.Clone(j.wanted), j.ownRequests()...) {
		if i, ok := last[q.symbol]; ok {
			out[i] = q
			continue
		}
		last[q.symbol] = len(out)
		out = append(out, q)
	}
	return out
}

// ownRequests make `uname -r` what the recipe says. The automatic suffix would be
// that of whatever git repository the cache lies in.
func (j *job) ownRequests() []request {
	own := []request{{"CONFIG_LOCALVERSION_AUTO", "n", ownRequest, 0}}
	if j.recipe.LocalVersion != "" {
		own = append(own, request{"CONFIG_LOCALVERSION", `"` + j.recipe.LocalVersion + `"`, ownRequest, 0})
	}
	return own
}

// configValues reads a .config.
func configValues(config []byte) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(string(config)) {
		if symbol, value, ok := parseSetting(line); ok {
			values[symbol] = value
		}
	}
	return values
}

// The alphabets of what goes into make and conf.

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

func notSymbolChar(r rune) bool  { return !alphanumeric(r) && r != '_' }
func notVarChar(r rune) bool     { return !alphanumeric(r) && r != '_' && r != '-' && r != '.' }
func notValueChar(r rune) bool   { return !alphanumeric(r) && r != '-' && r != '+' }
func notReleaseChar(r rune) bool { return !alphanumeric(r) && r != '-' && r != '.' && r != '_' }
