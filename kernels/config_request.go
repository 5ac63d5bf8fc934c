// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/runv-legacy/runv-legacy/kernels/kconfig"
)

// request is one line of a fragment that asks for a symbol.
type request struct {
	kconfig.Request
	fragment int // index in the recipe, or ownRequest
}

// ownRequest is the fragment of a request that the recipe makes by other fields.
const ownRequest = -1

// The symbols that make the kernel's release.
const (
	localVersion     = "LOCALVERSION"
	localVersionAuto = "LOCALVERSION_AUTO"
)

// requests reads the recipe's fragments.
func (r Recipe) requests() ([]request, error) {
	var all []request
	for i, f := range r.Fragments {
		requests, err := kconfig.ParseFragment(f.Name, bytes.NewReader(f.Data))
		if err != nil {
			return nil, err
		}
		for _, q := range requests {
			if r.contradicts(q) {
				return nil, &kconfig.FragmentError{File: q.File, Line: q.Line, Msg: fmt.Sprintf(
					"CONFIG_%s=%s contradicts the recipe's local version %q; leave it to that", q.Symbol, q.Value, r.LocalVersion)}
			}
			all = append(all, request{q, i})
		}
	}
	return all, nil
}

// contradicts says whether a request would change `uname -r` from what r says.
func (r Recipe) contradicts(q kconfig.Request) bool {
	switch q.Symbol {
	case localVersion:
		return r.LocalVersion != "" && q.Value != `"`+r.LocalVersion+`"`
	case localVersionAuto:
		return q.Value != "n"
	}
	return false
}

// merged gives the requests as they count: the last one of each symbol, in the
// order of the symbols' first ones, and the release's suffix.
func (j *job) merged() []request {
	at := map[string]int{}
	var out []request
	for _, q := range append(slices.Clone(j.wanted), j.ownRequests()...) {
		if i, ok := at[q.Symbol]; ok {
			out[i] = q
			continue
		}
		at[q.Symbol] = len(out)
		out = append(out, q)
	}
	return out
}

// ownRequests make `uname -r` what the recipe says. The automatic suffix would be
// that of whatever git repository the cache lies in.
func (j *job) ownRequests() []request {
	own := []request{{kconfig.Request{Symbol: localVersionAuto, Value: "n"}, ownRequest}}
	if j.recipe.LocalVersion != "" {
		own = append(own, request{kconfig.Request{Symbol: localVersion, Value: `"` + j.recipe.LocalVersion + `"`}, ownRequest})
	}
	return own
}

// settings gives requests as lines of a .config.
func settings(requests []request) string {
	var f kconfig.Fragment
	for _, q := range requests {
		f = append(f, q.Request)
	}
	return f.String()
}

// overlay puts requests behind a .config, where they win: conf takes the last
// value of a symbol, and of the members of a choice the last that is on.
func overlay(config []byte, requests []request) []byte {
	return slices.Concat(config, []byte(settings(requests)))
}

// notReleaseChar says what may not be part of `uname -r`.
func notReleaseChar(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("-._", r) }

// notVarChar says what may not be part of a make variable's name.
func notVarChar(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("-._", r) }

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
