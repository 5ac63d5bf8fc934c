package distro

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxModule is the size of the largest module, decompressed; with debug
// symbols a GPU driver's exceeds 200 MiB.
const maxModule = 512 << 20

// moduleIndex knows the modules of one release: which there are, which are
// built in, and what each needs.
type moduleIndex struct {
	fsys    fs.FS             // /lib/modules/<release>
	paths   map[string]string // name to path
	builtin map[string]bool
	aliases map[string][]string // alias to names, of modules and built in
	deps    map[string][]string // of modules.dep; nil where there is none
	config  []byte
	loaded  map[string]*module
}

type module struct {
	name string
	path string // with no ending for its compression
	data []byte
	info modinfo
}

// moduleName gives the name that the kernel uses: of "kernel/a/virtio-rng.ko.xz"
// virtio_rng.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	if file == "" {
		return ""
	}
	return strings.ReplaceAll(strings.TrimSpace(name), "-", "_")
}

func isModule(file string) bool {
	for _, end := range []string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"} {
		if strings.HasSuffix(file, end) {
			return true
		}
	}
	return false
}

// openIndex reads a release's modules folder; nil is a kernel without modules.
func openIndex(fsys fs.FS, config []byte) (*moduleIndex, error) {
	x := &moduleIndex{
		fsys: fsys, config: config,
		paths: map[string]string{}, builtin: map[string]bool{},
		aliases: map[string][]string{}, loaded: map[string]*module{},
	}
	if fsys == nil {
		return x, nil
	}
	if err := x.findModules(); err != nil {
		return nil, err
	}
	for _, file := range []struct {
		name string
		read func([]byte)
	}{
		{"modules.builtin", x.readBuiltin},
		{"modules.builtin.modinfo", x.readBuiltinInfo},
		{"modules.alias", x.readAlias},
		{"modules.dep", x.readDep},
	} {
		data, err := readSmall(fsys, file.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		file.read(data)
	}
	return x, nil
}

// readSmall reads one of the text files beside the modules.
func readSmall(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const limit = 64 << 20 // Debian's largest, modules.alias, has 1 MiB
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrLimit, name, limit)
	}
	return data, nil
}

func (x *moduleIndex) findModules() error {
	count := 0
	err := fs.WalkDir(x.fsys, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() || !isModule(file) {
			return nil
		}
		if count++; count > maxFiles {
			return fmt.Errorf("%w: more than %d modules", ErrLimit, maxFiles)
		}
		name := moduleName(file)
		// As depmod has it by default, what updates/ has goes first.
		if old, twice := x.paths[name]; !twice || strings.HasPrefix(file, "updates/") && !strings.HasPrefix(old, "updates/") {
			x.paths[name] = file
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for modules: %w", err)
	}
	return nil
}

func (x *moduleIndex) readBuiltin(data []byte) {
	for line := range lines(data) {
		x.builtin[moduleName(line)] = true
	}
}

// readBuiltinInfo takes the aliases of what is built in from
// modules.builtin.modinfo (5.2 and later): "crc32c_generic.alias=crc32c", each
// ended by NUL.
func (x *moduleIndex) readBuiltinInfo(data []byte) {
	for _, field := range bytes.Split(data, []byte{0}) {
		key, value, _ := strings.Cut(string(field), "=")
		name, ok := strings.CutSuffix(key, ".alias")
		if ok {
			x.addAlias(value, moduleName(name))
		}
	}
}

// readAlias takes "alias PATTERN NAME" lines. Patterns are for devices and
// are not looked up here, plain names are.
func (x *moduleIndex) readAlias(data []byte) {
	for line := range lines(data) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "alias" {
			x.addAlias(f[1], moduleName(f[2]))
		}
	}
}

func (x *moduleIndex) addAlias(alias, name string) {
	if !slices.Contains(x.aliases[alias], name) {
		x.aliases[alias] = append(x.aliases[alias], name)
	}
}

// readDep takes modules.dep: "kernel/a.ko: kernel/b.ko kernel/c.ko". Paths of
// very old depmods are absolute; only the names count.
func (x *moduleIndex) readDep(data []byte) {
	x.deps = map[string][]string{}
	for line := range lines(data) {
		file, list, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		var names []string
		for _, dep := range strings.Fields(list) {
			names = append(names, moduleName(dep))
		}
		x.deps[moduleName(file)] = names
	}
}

// lines gives a text's lines without empty ones and comments.
func lines(data []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		scanner := bufio.NewScanner(bytes.NewReader(data))
		scanner.Buffer(nil, len(data)+1)
		for scanner.Scan() {
			line := strings.TrimSpace(scanner.Text())
			if line != "" && line[0] != '#' && !yield(line) {
				return
			}
		}
	}
}

// isBuiltin asks modules.builtin or, if a symbol is given, the configuration.
func (x *moduleIndex) isBuiltin(name, symbol string) bool {
	return x.builtin[name] || symbol != "" && x.configured(symbol)
}

func (x *moduleIndex) configured(symbol string) bool {
	line := []byte(symbol + "=y")
	for rest := x.config; ; {
		i := bytes.Index(rest, line)
		if i < 0 {
			return false
		}
		end := i + len(line)
		if (i == 0 || rest[i-1] == '\n') && (end == len(rest) || rest[end] == '\n' || rest[end] == '\r') {
			return true
		}
		rest = rest[end:]
	}
}

// open reads a module, once.
func (x *moduleIndex) open(name string) (*module, error) {
	if m := x.loaded[name]; m != nil {
		return m, nil
	}
	file := x.paths[name]
	f, err := x.fsys.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", name, err)
	}
	defer f.Close()
	data, err := readAll(f, maxModule)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", file, err)
	}
	info, err := parseModinfo(data)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", file, err)
	}
	base, _, _ := strings.Cut(path.Base(file), ".ko")
	m := &module{name: name, path: path.Join(path.Dir(file), base+".ko"), data: data, info: info}
	x.loaded[name] = m
	return m, nil
}
