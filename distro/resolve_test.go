package distro

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// ko makes a module: an ELF file with nothing but its .modinfo.
func ko(fields ...string) []byte {
	info := strings.Join(fields, "\x00") + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	le := binary.LittleEndian
	head := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	head = le.AppendUint16(head, 1)  // ET_REL
	head = le.AppendUint16(head, 62) // EM_X86_64
	head = le.AppendUint32(head, 1)
	head = le.AppendUint64(head, 0)
	head = le.AppendUint64(head, 0)
	head = le.AppendUint64(head, uint64(64+len(info)+len(names)))
	head = le.AppendUint32(head, 0)
	for _, v := range []uint16{64, 0, 0, 64, 3, 2} {
		head = le.AppendUint16(head, v)
	}
	out := append(append(head, info...), names...)
	section := func(name, kind uint32, offset, size int) {
		out = le.AppendUint32(out, name)
		out = le.AppendUint32(out, kind)
		out = le.AppendUint64(out, 0)
		out = le.AppendUint64(out, 0)
		out = le.AppendUint64(out, uint64(offset))
		out = le.AppendUint64(out, uint64(size))
		out = append(out, make([]byte, 24)...)
	}
	section(0, 0, 0, 0)
	section(1, 1, 64, len(info))
	section(10, 3, 64+len(info), len(names))
	return out
}

const magic = "vermagic=6.1.0-9-amd64 SMP mod_unload"

// modulesOf makes a modules folder: "name" or "name:dep,dep" or
// "name:dep;softdep=pre: x".
func modulesOf(list ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for _, m := range list {
		name, rest, _ := strings.Cut(m, ":")
		deps, more, _ := strings.Cut(rest, ";")
		fields := []string{magic, "depends=" + deps}
		if more != "" {
			fields = append(fields, more)
		}
		dir := "kernel/drivers/"
		if strings.HasPrefix(name, "crc") {
			dir = "kernel/crypto/"
		}
		fsys[dir+name+".ko"] = &fstest.MapFile{Data: ko(fields...)}
	}
	return fsys
}

func resolveNames(fsys fstest.MapFS, config string) ([]string, *Result, error) {
	r := &Result{Release: "6.1.0-9-amd64", Config: []byte(config)}
	err := r.resolve(fsys)
	return r.LoadOrder, r, err
}

func TestResolve(t *testing.T) {
	base := []string{"virtio_ring", "virtio:virtio_ring", "virtio_pci:virtio,virtio_ring", "virtio_blk:virtio", "virtio_console:virtio"}
	got, res, err := resolveNames(modulesOf(append(base, "ext4:jbd2;softdep=pre: crc32c", "jbd2", "crc32c_generic:;alias=crc32c", "crc32c-intel:;alias=crc32c", "virtio-rng:rng-core,virtio", "rng-core", "unused:virtio")...), "CONFIG_SQUASHFS=y\n# CONFIG_9P_FS is not set\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"virtio_ring", "virtio", "virtio_pci", "virtio_console", "virtio_blk", "rng_core", "virtio_rng", "crc32c_generic", "jbd2", "ext4"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !res.Has("squashfs") || res.Has("9p") || res.Has("overlay") {
		t.Errorf("built in %q", res.BuiltIn)
	}
	var missing []string
	for _, m := range res.Missing {
		missing = append(missing, m.Name)
	}
	if !slices.Contains(missing, "9p") || !slices.Contains(missing, "virtio_net") || slices.Contains(missing, "squashfs") {
		t.Errorf("missing %q", missing)
	}
}

func TestResolveUsesDepmodsFiles(t *testing.T) {
	fsys := modulesOf("virtio_pci", "virtio", "virtio_blk", "ext4:;softdep=pre: crc32c", "crc32c_special")
	fsys["modules.dep"] = &fstest.MapFile{Data: []byte("kernel/drivers/virtio_pci.ko: kernel/drivers/virtio.ko\n/lib/modules/x/kernel/drivers/virtio_blk.ko.gz: /lib/modules/x/kernel/drivers/virtio.ko.gz\n")}
	fsys["modules.alias"] = &fstest.MapFile{Data: []byte("# Aliases\nalias crc32c crc32c_special\n")}
	fsys["modules.builtin"] = &fstest.MapFile{Data: []byte("kernel/drivers/char/virtio_console.ko\n")}
	got, res, err := resolveNames(fsys, "")
	if want := []string{"virtio", "virtio_pci", "virtio_blk", "crc32c_special", "ext4"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if !res.Has("virtio_console") {
		t.Errorf("built in %q", res.BuiltIn)
	}
	fsys["modules.builtin.modinfo"] = &fstest.MapFile{Data: []byte("crc32c_generic.license=GPL\x00crc32c_generic.alias=crc32c\x00")}
	fsys["modules.builtin"].Data = append(fsys["modules.builtin"].Data, "kernel/crypto/crc32c_generic.ko\n"...)
	if got, _, err = resolveNames(fsys, ""); err != nil || slices.Contains(got, "crc32c_special") {
		t.Errorf("what is built in is loaded too: %q, %v", got, err)
	}
}

func TestResolveRefuses(t *testing.T) {
	other := modulesOf("virtio_pci", "virtio_blk", "virtio_console")
	other["kernel/drivers/virtio_blk.ko"].Data = ko("vermagic=6.1.0-8-amd64 SMP", "depends=")
	broken := modulesOf("virtio_pci", "virtio_blk", "virtio_console")
	broken["kernel/drivers/virtio_blk.ko"].Data = []byte("\x7fELF\x02\x01\x01")
	for name, c := range map[string]struct {
		fsys fstest.MapFS
		want error
		says string
	}{
		"no virtio_pci":     {modulesOf("virtio_blk", "virtio_console"), ErrUnusable, "virtio_pci"},
		"no disk":           {modulesOf("virtio_pci", "virtio_console"), ErrUnusable, "virtio_blk"},
		"no channel":        {modulesOf("virtio_pci", "virtio_blk"), ErrUnusable, "8250"},
		"no dependency":     {modulesOf("virtio_pci:virtio", "virtio_blk", "virtio_console"), ErrUnusable, "virtio_pci needs virtio"},
		"a circle":          {modulesOf("virtio_pci:virtio", "virtio:virtio_pci", "virtio_blk", "virtio_console"), ErrFormat, "virtio_pci -> virtio -> virtio_pci"},
		"of another kernel": {other, ErrMismatch, `"6.1.0-8-amd64"`},
		"broken":            {broken, ErrFormat, "virtio_blk.ko"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := resolveNames(c.fsys, "")
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.says)
			}
		})
	}
}

func FuzzModulesFiles(f *testing.F) {
	f.Add([]byte("kernel/a.ko: kernel/b.ko.xz\n"), []byte("alias a b\n"), []byte("a.alias=b\x00"), "pre: a post: b")
	f.Fuzz(func(t *testing.T, dep, alias, builtin []byte, soft string) {
		fsys := modulesOf("a:b;softdep="+strings.ReplaceAll(soft, "\x00", " "), "b")
		fsys["modules.dep"] = &fstest.MapFile{Data: dep}
		fsys["modules.alias"] = &fstest.MapFile{Data: alias}
		fsys["modules.builtin.modinfo"] = &fstest.MapFile{Data: builtin}
		index, err := openIndex(fsys, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = newResolver(index, "6.1.0-9-amd64").add("a") // must end
	})
}

func FuzzModinfo(f *testing.F) {
	f.Add(ko(magic, "depends=a,b", "softdep=pre: c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := parseModinfo(data); err != nil && !errors.Is(err, ErrFormat) {
			t.Error(err)
		}
	})
}
