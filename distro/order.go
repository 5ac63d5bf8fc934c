package distro

import (
	"fmt"
	"slices"
	"strings"
)

// resolver puts modules into an order in which each comes after what it needs.
type resolver struct {
	index   *moduleIndex
	release string
	order   []*module
	state   map[string]int // of a module by name: none, visiting, done
	trail   []string
}

const (
	visiting = 1
	done     = 2
)

func newResolver(index *moduleIndex, release string) *resolver {
	return &resolver{index: index, release: release, state: map[string]int{}}
}

// add appends a module with all it needs. The order depends on the modules
// only: dependencies are taken by name.
func (r *resolver) add(name string) error {
	switch r.state[name] {
	case done:
		return nil
	case visiting:
		return fmt.Errorf("%w: modules need each other in a circle: %s", ErrFormat, strings.Join(append(r.trail, name), " -> "))
	}
	m, err := r.index.open(name)
	if err != nil {
		return err
	}
	if err := r.check(m); err != nil {
		return err
	}
	r.state[name] = visiting
	r.trail = append(r.trail, name)
	if err := r.addDeps(m); err != nil {
		return err
	}
	r.trail = r.trail[:len(r.trail)-1]
	r.state[name] = done
	r.order = append(r.order, m)
	for _, soft := range m.info.post {
		if err := r.addSoft(soft); err != nil {
			return err
		}
	}
	return nil
}

// check compares releases: the kernel would refuse the module ("version magic
// ... should be ..."), without CONFIG_MODVERSIONS for less.
func (r *resolver) check(m *module) error {
	release, _, _ := strings.Cut(m.info.vermagic, " ")
	if release != r.release {
		return fmt.Errorf("%w: module %s is for %q, the kernel is %q", ErrMismatch, m.path, release, r.release)
	}
	return nil
}

func (r *resolver) addDeps(m *module) error {
	for _, soft := range m.info.pre {
		if err := r.addSoft(soft); err != nil {
			return err
		}
	}
	deps, listed := r.index.deps[m.name]
	if !listed {
		// A package has no modules.dep, depmod makes it on installation; the
		// module's own list is what depmod's comes to for direct dependencies.
		deps = m.info.depends
	}
	for _, dep := range slices.Sorted(slices.Values(deps)) {
		if r.index.paths[dep] == "" {
			if r.index.isBuiltin(dep, "") {
				continue
			}
			return fmt.Errorf("%w: module %s needs %s, which is not there; give the complete modules folder", ErrUnusable, m.name, dep)
		}
		if err := r.add(dep); err != nil {
			return err
		}
	}
	return nil
}

// addSoft adds what a module would like to have: a module or an alias. One that
// does not exist is no error (modprobe.d(5)), nor is one that is on its way.
func (r *resolver) addSoft(soft string) error {
	name := moduleName(soft)
	if r.index.paths[name] == "" {
		name = r.index.provider(soft)
	}
	if name == "" || r.state[name] != 0 {
		return nil
	}
	return r.add(name)
}

// provider finds the module behind an alias; none if something built in is. Of
// several that for any CPU is taken: the guest has no modprobe that would try
// the others, and ext4 only needs one crc32c.
func (x *moduleIndex) provider(alias string) string {
	names := x.aliases[alias]
	if len(names) == 0 {
		x.scanCrypto()
		names = x.aliases[alias]
	}
	var found []string
	for _, name := range names {
		if x.builtin[name] {
			return ""
		}
		if x.paths[name] != "" {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return ""
	}
	slices.Sort(found)
	if i := slices.Index(found, moduleName(alias)+"_generic"); i >= 0 {
		return found[i]
	}
	return found[0]
}

// scanCrypto reads the aliases of the modules below crypto folders, for
// packages without modules.alias. Soft dependencies by alias are on hashes and
// ciphers; reading all 4000 modules would take a while.
func (x *moduleIndex) scanCrypto() {
	var names []string
	for name, file := range x.paths {
		if strings.Contains(file, "/crypto/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		m, err := x.open(name)
		if err != nil {
			continue // not needed, so not complained of
		}
		for _, alias := range m.info.aliases {
			x.addAlias(alias, name)
		}
	}
}
