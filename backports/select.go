package backports

import (
	"fmt"
	"slices"
	"strings"
)

// Select returns the patches of the sets, without the excluded ids, in the
// order in which they must be applied: series order, but dependencies first. A
// dependency from a set that was not asked for comes along, because the patch
// cannot be applied without it.
//
// Errors wrap ErrUnknownSet, ErrUnknownPatch (an exclude that names nothing) or
// ErrDependencyExcluded.
func (s *Series) Select(sets, exclude []string) ([]Patch, error) {
	for _, set := range sets {
		if !s.hasSet(set) {
			return nil, fmt.Errorf("series %s: %w %q; it has: %s", s.Name, ErrUnknownSet, set, strings.Join(s.setNames(), ", "))
		}
	}
	for _, id := range exclude {
		if s.find(id) == nil {
			return nil, fmt.Errorf("series %s: exclude: %w %q", s.Name, ErrUnknownPatch, id)
		}
	}
	var ids []string
	for _, p := range s.Patches {
		if slices.Contains(sets, p.Set) && !slices.Contains(exclude, p.ID) {
			ids = append(ids, p.ID)
		}
	}
	patches, err := s.order(ids, exclude)
	if err != nil {
		return nil, fmt.Errorf("series %s: %w", s.Name, err)
	}
	return patches, nil
}

// Marks of a patch during the depth-first walk of order.
const (
	visiting = 1 + iota
	visited
)

// order returns the patches of ids and all they depend on, dependencies first.
func (s *Series) order(ids, exclude []string) ([]Patch, error) {
	var ordered []Patch
	marks := map[string]int{}
	var visit func(id string, chain []string) error
	visit = func(id string, chain []string) error {
		chain = append(chain, id)
		switch marks[id] {
		case visited:
			return nil
		case visiting:
			return fmt.Errorf("%w: %s", ErrCycle, strings.Join(chain[slices.Index(chain, id):], " -> "))
		}
		p := s.find(id)
		if p == nil {
			return fmt.Errorf("%w %q (needed by %s)", ErrUnknownPatch, id, chain[max(0, len(chain)-2)])
		}
		marks[id] = visiting
		for _, dep := range p.DependsOn {
			if slices.Contains(exclude, dep) {
				return fmt.Errorf("patch %s needs %s: %w; exclude both or neither", id, dep, ErrDependencyExcluded)
			}
			if err := visit(dep, chain); err != nil {
				return err
			}
		}
		marks[id] = visited
		ordered = append(ordered, *p)
		return nil
	}
	for _, id := range ids {
		if err := visit(id, nil); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

func (s *Series) find(id string) *Patch {
	for i := range s.Patches {
		if s.Patches[i].ID == id {
			return &s.Patches[i]
		}
	}
	return nil
}

func (s *Series) hasSet(name string) bool { return slices.Contains(s.setNames(), name) }

func (s *Series) setNames() []string {
	var names []string
	for _, set := range s.Sets {
		names = append(names, set.Name)
	}
	return names
}
