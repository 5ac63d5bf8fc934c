// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// missing explains a symbol that no file of the tree defines.
func (t *Tree) missing(name, want string) Explanation {
	x := Explanation{Similar: t.similar(name)}
	x.Text = fmt.Sprintf("%s=%s wanted, but this kernel has no symbol of that name", name, want)
	if s := t.symbols[name]; s != nil && len(s.by) > 0 {
		x.Text += " for this architecture (" + s.by[0].from.symbol.name + " mentions it)"
	}
	if len(x.Similar) > 0 {
		x.Text += "; did you mean " + strings.Join(x.Similar, " or ") + "?"
	}
	return x
}

// maxName bounds the names that similar ones are looked for.
const maxName = 128

// similar gives up to three defined symbols with the names nearest to name: by
// edit distance, or because one is the other with words added.
func (t *Tree) similar(name string) []string {
	if len(name) > maxName {
		return nil
	}
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	limit := max(1, min(4, len(name)/4))
	for other, s := range t.symbols {
		if len(s.defs) == 0 || len(other) > maxName {
			continue
		}
		d := limit + 1
		if abs(len(name)-len(other)) <= limit {
			d = distance(name, other, limit)
		}
		if d > limit && (wordsOf(other, name) || wordsOf(name, other)) {
			d = limit
		}
		if d <= limit {
			near = append(near, candidate{other, d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance),
			cmp.Compare(abs(len(a.name)-len(name)), abs(len(b.name)-len(name))), strings.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range near[:min(3, len(near))] {
		names = append(names, c.name)
	}
	return names
}

// wordsOf says whether the short name is the long one without words at its
// beginning or end: 9P_FS and NET_9P_FS.
func wordsOf(long, short string) bool {
	return len(short) >= 4 && (strings.HasPrefix(long, short+"_") || strings.HasSuffix(long, "_"+short))
}

// distance is the number of single characters to insert, delete, replace or swap
// with their neighbour that turns a into b; some number over limit if it is more.
func distance(a, b string, limit int) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, row := rows[(i+2)%3], rows[i%3], rows[(i+1)%3]
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			change := prev[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(prev[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least > limit {
			return least
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}

func abs(n int) int { return max(n, -n) }
