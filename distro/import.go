package distro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/runv-legacy/runv-legacy/initrd"
)

// maxKernel is the size of the largest kernel image.
const maxKernel = 256 << 20

// Options name what is imported: a kernel image, a .deb or an .rpm.
type Options struct {
	// Kernel is a bzImage. Its configuration and System.map are taken from
	// beside it, if they are there under the names that distributions use.
	Kernel string

	// ModulesDir holds Kernel's modules: /lib/modules/<release>, or a folder
	// with <release> or lib/modules/<release> in it.
	ModulesDir string

	// Deb is a Debian package with a kernel.
	Deb string

	// RPM is an RPM package with a kernel.
	RPM string

	// Packages are further .deb or .rpm files with parts of the same kernel,
	// for distributions that split it (kernel-core, kernel-modules-core).
	Packages []string

	// TempDir is where packages are unpacked for the time of the import; the
	// system's if empty. A Debian kernel needs 400 MiB.
	TempDir string
}

// Result is an imported kernel.
type Result struct {
	// Kernel is the bzImage.
	Kernel []byte

	// Release and Version are what the image says: uname -r, and the text
	// with builder and date.
	Release, Version string

	// Config and SystemMap are nil where none was found.
	Config, SystemMap []byte

	// Modules are those that a guest needs, decompressed, in load order.
	Modules []initrd.Module

	// LoadOrder are their names.
	LoadOrder []string

	// BuiltIn are what a guest needs and the kernel has built in.
	BuiltIn []string

	// Missing is what the kernel lacks and a guest can do without.
	Missing []Missing

	// Unchecked says that neither modules nor a configuration were there to
	// tell what the kernel can do.
	Unchecked bool
}

// Missing is one thing that a kernel lacks.
type Missing struct {
	Name   string // of the module
	Effect string
}

// Initrd gives the options of an initrd that loads the modules.
func (r *Result) Initrd() initrd.Options {
	return initrd.Options{Release: r.Release, Modules: r.Modules}
}

// Has says whether the kernel has something built in or as one of Modules.
func (r *Result) Has(module string) bool {
	for _, list := range [][]string{r.BuiltIn, r.LoadOrder} {
		for _, name := range list {
			if name == module {
				return true
			}
		}
	}
	return false
}

// Import takes a distribution's kernel apart. Errors wrap [ErrFormat],
// [ErrLimit], [ErrMismatch], [ErrNoKernel] or [ErrUnusable].
func Import(ctx context.Context, opts Options) (*Result, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	if opts.Kernel != "" {
		res, err := importKernel(opts)
		if err != nil {
			return nil, fmt.Errorf("import %s: %w", opts.Kernel, err)
		}
		return res, nil
	}
	pkg := opts.Deb + opts.RPM
	res, err := importPackages(ctx, append([]string{pkg}, opts.Packages...), opts)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", pkg, err)
	}
	return res, nil
}

func (o Options) check() error {
	given := 0
	for _, s := range []string{o.Kernel, o.Deb, o.RPM} {
		if s != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("import: name one kernel image, one .deb or one .rpm")
	case o.ModulesDir != "" && o.Kernel == "":
		return errors.New("import: a modules folder goes with a kernel image; a package has its own")
	case len(o.Packages) > 0 && o.Kernel != "":
		return errors.New("import: further packages go with a .deb or .rpm")
	}
	return nil
}

func importPackages(ctx context.Context, files []string, opts Options) (*Result, error) {
	dir, err := os.MkdirTemp(opts.TempDir, "runv-legacy-import-")
	if err != nil {
		return nil, fmt.Errorf("make a folder to unpack to: %w", err)
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder to unpack to: %w", err)
	}
	defer root.Close()
	out := &tree{root: root}
	for i, file := range files {
		rpm := opts.RPM != "" && i == 0 || i > 0 && strings.HasSuffix(file, ".rpm")
		if err := unpackPackage(ctx, file, rpm, out); err != nil {
			return nil, err
		}
	}
	return importTree(root.FS())
}

func unpackPackage(ctx context.Context, file string, rpm bool, out *tree) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	unpack := unpackDeb
	if rpm {
		unpack = unpackRPM
	}
	if err := unpack(ctx, f, out); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(file), err)
	}
	return nil
}

// importTree imports from an unpacked package: boot/vmlinuz-RELEASE, or
// lib/modules/RELEASE/vmlinuz as newer RPMs have it.
func importTree(fsys fs.FS) (*Result, error) {
	var found []string
	for _, pattern := range []string{"boot/vmlinuz-*", "lib/modules/*/vmlinuz"} {
		files, err := fs.Glob(fsys, pattern)
		if err != nil {
			return nil, err
		}
		if found = append(found, files...); len(found) > 0 {
			break
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("%w: neither boot/vmlinuz-* nor lib/modules/*/vmlinuz; give the package that holds the kernel itself", ErrNoKernel)
	case len(found) > 1:
		return nil, fmt.Errorf("%w: more than one: %s", ErrNoKernel, strings.Join(found, ", "))
	}
	res, err := readKernel(fsys, found[0])
	if err != nil {
		return nil, err
	}
	modules := path.Join("lib/modules", res.Release)
	for _, dir := range []string{"boot", modules} {
		if err := res.readCompanions(fsys, dir); err != nil {
			return nil, err
		}
	}
	if _, err := fs.Stat(fsys, modules); err != nil {
		if others, _ := fs.Glob(fsys, "lib/modules/*"); len(others) > 0 {
			return nil, fmt.Errorf("%w: the kernel is %s, the package's modules are in %s", ErrMismatch, res.Release, strings.Join(others, ", "))
		}
		return res, res.resolve(nil)
	}
	sub, err := fs.Sub(fsys, modules)
	if err != nil {
		return nil, err
	}
	return res, res.resolve(sub)
}

func importKernel(opts Options) (*Result, error) {
	dir := os.DirFS(filepath.Dir(opts.Kernel))
	res, err := readKernel(dir, filepath.Base(opts.Kernel))
	if err != nil {
		return nil, err
	}
	if err := res.readCompanions(dir, "."); err != nil {
		return nil, err
	}
	if opts.ModulesDir == "" {
		return res, res.resolve(nil)
	}
	modules, err := findModulesDir(opts.ModulesDir, res.Release)
	if err != nil {
		return nil, err
	}
	return res, res.resolve(os.DirFS(modules))
}

// findModulesDir accepts the three folders that ModulesDir may be.
func findModulesDir(dir, release string) (string, error) {
	for _, d := range []string{dir, filepath.Join(dir, release), filepath.Join(dir, "lib/modules", release)} {
		if _, err := os.Stat(filepath.Join(d, "kernel")); err == nil {
			return d, nil
		}
	}
	return "", fmt.Errorf("%w: no modules of %s in %s (no folder kernel, %s or lib/modules/%[2]s)", ErrMismatch, release, dir, release)
}

func readKernel(fsys fs.FS, name string) (*Result, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKernel+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxKernel {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrLimit, name, maxKernel)
	}
	img, err := ParseImage(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path.Base(name), err)
	}
	return &Result{Kernel: data, Release: img.Release, Version: img.Version}, nil
}

// readCompanions reads config-RELEASE and System.map-RELEASE, or the same
// without the release, from a folder.
func (r *Result) readCompanions(fsys fs.FS, dir string) error {
	for _, c := range []struct {
		name string
		into *[]byte
	}{{"config", &r.Config}, {"System.map", &r.SystemMap}} {
		for _, name := range []string{c.name + "-" + r.Release, c.name} {
			// A bare "config" in /boot is anybody's.
			if *c.into != nil || name == c.name && !strings.HasPrefix(dir, "lib/") {
				continue
			}
			data, err := readSmall(fsys, path.Join(dir, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			*c.into = data
		}
	}
	return nil
}
