package artifact

import (
	"errors"
	"slices"
	"strings"
)

func isAmbiguous(err error) bool { return errors.Is(err, ErrAmbiguous) }

// nearNames returns up to five names that the user may have meant: names within
// a third of the reference's length in edits, or that contain it.
func nearNames(ref string, entries []target) []string {
	type scored struct {
		name  string
		score int
	}
	var near []scored
	for _, name := range distinct(entries, func(t target) string { return t.name }) {
		if name == "" {
			continue
		}
		score := edits(ref, name)
		_, tag, _ := strings.Cut(name, ":")
		if len(ref) >= 3 && (strings.Contains(name, ref) || tag != "" && strings.Contains(ref, tag)) {
			score = min(score, 1)
		}
		if score <= max(2, len(ref)/3) {
			near = append(near, scored{name, score})
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int { return a.score - b.score })
	var names []string
	for _, n := range near[:min(5, len(near))] {
		names = append(names, n.name)
	}
	return names
}

// edits is the Levenshtein distance in bytes, with one row of memory.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
