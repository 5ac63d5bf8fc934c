package distro

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/runv-legacy/runv-legacy/initrd"
)

// resolve finds what a guest needs in the release's modules folder, which may
// be nil, and in the configuration.
func (r *Result) resolve(modules fs.FS) error {
	if modules == nil && r.Config == nil {
		r.Unchecked = true
		return nil
	}
	index, err := openIndex(modules, r.Config)
	if err != nil {
		return err
	}
	res := newResolver(index, r.Release)
	list := needs()
	if !index.available(need{module: "virtio_console", symbol: "CONFIG_VIRTIO_CONSOLE"}) {
		list = append(list, serial())
	}
	var lacking []string
	for _, n := range list {
		switch {
		case index.isBuiltin(n.module, n.symbol):
			r.BuiltIn = append(r.BuiltIn, n.module)
		case index.paths[n.module] != "":
			if err := res.add(n.module); err != nil {
				return err
			}
		case n.must:
			lacking = append(lacking, fmt.Sprintf("%s (%s): %s", n.module, n.symbol, n.why))
		default:
			r.Missing = append(r.Missing, Missing{Name: n.module, Effect: n.why})
		}
	}
	if len(lacking) > 0 {
		return fmt.Errorf("%w: %s lacks %s", ErrUnusable, r.Release, strings.Join(lacking, "; "))
	}
	for _, m := range res.order {
		r.Modules = append(r.Modules, initrd.Module{Path: m.path, Data: m.data})
		r.LoadOrder = append(r.LoadOrder, m.name)
	}
	return nil
}

func (x *moduleIndex) available(n need) bool {
	return x.isBuiltin(n.module, n.symbol) || x.paths[n.module] != ""
}
