package distro

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/runv-legacy/runv-legacy/initrd"
)

// bzImage makes the smallest image that ParseImage takes.
func bzImage(version string) []byte {
	img := make([]byte, 0x600)
	img[offSetupSects] = 2
	binary.LittleEndian.PutUint16(img[offBootFlag:], 0xaa55)
	copy(img[offMagic:], "HdrS")
	binary.LittleEndian.PutUint16(img[offProtocol:], 0x020f)
	binary.LittleEndian.PutUint16(img[offKernelVersion:], 0x100)
	img[offLoadFlags] = 1
	img[offXLoadFlags] = 1
	copy(img[0x300:], version)
	return img
}

func TestParseImage(t *testing.T) {
	img, err := ParseImage(bzImage("2.6.32-754.el6.x86_64 (mockbuild@x) #1 SMP Tue"))
	if err != nil || img.Release != "2.6.32-754.el6.x86_64" || !strings.HasSuffix(img.Version, "#1 SMP Tue") {
		t.Errorf("got %+v, %v", img, err)
	}
	with := func(change func([]byte)) []byte {
		b := bzImage("6.1.0 x")
		change(b)
		return b
	}
	for name, data := range map[string][]byte{
		"empty":                   nil,
		"short":                   bzImage("6.1.0")[:0x237],
		"ELF":                     append([]byte("\x7fELF"), make([]byte, 0x1000)...),
		"no boot flag":            with(func(b []byte) { b[offBootFlag] = 0 }),
		"no magic":                with(func(b []byte) { b[offMagic] = 0 }),
		"old protocol":            with(func(b []byte) { b[offProtocol+1] = 1 }),
		"loaded low":              with(func(b []byte) { b[offLoadFlags] = 0 }),
		"32 bit":                  with(func(b []byte) { b[offXLoadFlags] = 0 }),
		"no version pointer":      with(func(b []byte) { b[offKernelVersion+1] = 0 }),
		"pointer behind setup":    with(func(b []byte) { b[offKernelVersion+1] = 0xff }),
		"version without an end":  with(func(b []byte) { copy(b[0x300:], bytes.Repeat([]byte("1"), 0x300)) }),
		"release that is a path":  bzImage("6.1/../../etc x"),
		"release that is no word": bzImage("../6.1 x"),
		"no release":              bzImage(""),
	} {
		t.Run(name, func(t *testing.T) {
			if img, err := ParseImage(data); !errors.Is(err, ErrFormat) {
				t.Errorf("got %+v, %v, want ErrFormat", img, err)
			}
		})
	}
}

func arFile(members ...string) []byte {
	var b bytes.Buffer
	b.WriteString(arMagic)
	for i := 0; i+1 < len(members); i += 2 {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", members[i], 0, 0, 0, "100644", len(members[i+1]), members[i+1])
		if len(members[i+1])%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func tarFile(t testing.TB, headers ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, h := range headers {
		data := h.Linkname
		if h.Typeflag == tar.TypeReg {
			h.Size, h.Linkname = int64(len(data)), ""
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			fmt.Fprint(tw, data)
		}
	}
	tw.Close()
	return b.String()
}

func newTree(t testing.TB) *tree {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return &tree{root: root}
}

func TestDebUnpacksOnlyBelowItsFolder(t *testing.T) {
	data := tarFile(t,
		tar.Header{Name: "./boot/vmlinuz-1", Typeflag: tar.TypeReg, Linkname: "kernel", Mode: 0o644},
		tar.Header{Name: "usr/lib/modules/1/kernel/a.ko", Typeflag: tar.TypeReg, Linkname: "module", Mode: 0o644},
		tar.Header{Name: "boot/../../../escaped", Typeflag: tar.TypeReg, Linkname: "x", Mode: 0o644},
		tar.Header{Name: "boot/link", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		tar.Header{Name: "boot/link/through", Typeflag: tar.TypeReg, Linkname: "x", Mode: 0o644},
		tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Linkname: "x", Mode: 0o644},
	)
	out := newTree(t)
	if err := unpackDeb(context.Background(), bytes.NewReader(arFile("debian-binary", "2.0\n", "data.tar", data)), out); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := contents(out, func(name, content string) { got = append(got, name+"="+content) })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"boot/link/through=x", "boot/vmlinuz-1=kernel", "lib/modules/1/kernel/a.ko=module"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// contents visits the files of a tree by name.
func contents(out *tree, visit func(name, content string)) error {
	fsys := out.root.FS()
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		visit(name, string(data))
		return err
	})
}

func TestDebRefuses(t *testing.T) {
	twice := tar.Header{Name: "boot/vmlinuz-1", Typeflag: tar.TypeReg, Linkname: "k", Mode: 0o644}
	negative := arFile("data.tar", "x")
	copy(negative[len(arMagic)+48:], "-60       ")
	for name, data := range map[string][]byte{
		"no ar":          []byte("PK\x03\x04 something else"),
		"no data":        arFile("debian-binary", "2.0\n"),
		"negative size":  negative,
		"cut member":     arFile("debian-binary", "2.0\n", "control.tar", strings.Repeat("x", 100))[:150],
		"cut header":     arFile("debian-binary", "2.0\n")[:30],
		"no tar":         arFile("data.tar", strings.Repeat("x", 1024)),
		"wrong gzip":     arFile("data.tar.gz", "\x1f\x8b\x08broken"),
		"wrong xz":       arFile("data.tar.xz", "\xfd7zXZ\x00 broken, too"),
		"wrong zstd":     arFile("data.tar.zst", "\x28\xb5\x2f\xfd broken, too"),
		"one file twice": arFile("data.tar", tarFile(t, twice, twice)),
		"cut in a file":  arFile("data.tar", tarFile(t, twice)[:512]),
		"cut package":    arFile("data.tar", tarFile(t, twice)+strings.Repeat("\x00", 4096))[:3000],
	} {
		t.Run(name, func(t *testing.T) {
			if err := unpackDeb(context.Background(), bytes.NewReader(data), newTree(t)); err == nil {
				t.Error("no error")
			}
		})
	}
}

func rpmFile(payload []byte) []byte {
	var b bytes.Buffer
	lead := make([]byte, rpmLeadSize)
	binary.BigEndian.PutUint32(lead, rpmLeadMagic)
	b.Write(lead)
	for _, size := range []int{3, 5} { // the first is padded to 8
		binary.Write(&b, binary.BigEndian, []uint32{rpmHeaderMagic, 0, 1, uint32(size)})
		b.Write(make([]byte, 16+size))
		if size == 3 {
			b.Write(make([]byte, 5))
		}
	}
	b.Write(payload)
	return b.Bytes()
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	zw.Write(data)
	zw.Close()
	return b.Bytes()
}

func TestRPM(t *testing.T) {
	var payload bytes.Buffer
	err := initrd.Write(&payload, []initrd.Entry{initrd.File("boot/vmlinuz-1", 0o644, []byte("k")), initrd.File("etc/x", 0o644, []byte("x"))})
	if err != nil {
		t.Fatal(err)
	}
	out := newTree(t)
	if err := unpackRPM(context.Background(), bytes.NewReader(rpmFile(gzipped(payload.Bytes()))), out); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := contents(out, func(name, content string) { got = append(got, name+"="+content) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []string{"boot/vmlinuz-1=k"}) {
		t.Errorf("got %q", got)
	}
	good := rpmFile(payload.Bytes())
	source := slices.Clone(good)
	source[7] = 1
	huge := slices.Clone(good)
	binary.BigEndian.PutUint32(huge[rpmLeadSize+8:], 0xffffffff)
	for name, data := range map[string][]byte{
		"no rpm": []byte("x"), "source": source, "huge header": huge,
		"cut lead": good[:90], "cut header": good[:120], "cut payload": good[:len(good)-200], "no payload": rpmFile(nil),
	} {
		t.Run(name, func(t *testing.T) {
			if err := unpackRPM(context.Background(), bytes.NewReader(data), newTree(t)); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) {
				t.Errorf("got %v", err)
			}
		})
	}
}

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

func TestOptionsNameOneThing(t *testing.T) {
	for _, o := range []Options{{}, {Kernel: "a", Deb: "b"}, {Deb: "a", ModulesDir: "b"}, {Kernel: "a", Packages: []string{"b"}}} {
		if _, err := Import(context.Background(), o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

func TestReadAllIsLimited(t *testing.T) {
	bomb := gzipped(make([]byte, 1<<20))
	if _, err := readAll(bytes.NewReader(bomb), 1<<10); !errors.Is(err, ErrLimit) {
		t.Errorf("got %v", err)
	}
	if data, err := readAll(bytes.NewReader(bomb), 1<<20); err != nil || len(data) != 1<<20 {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
}

func FuzzParseImage(f *testing.F) {
	f.Add(bzImage("6.1.0-9-amd64 (a@b) #1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if img, err := ParseImage(data); err == nil && !validRelease(img.Release) {
			t.Errorf("release %q", img.Release)
		}
	})
}

func FuzzDeb(f *testing.F) {
	f.Add(arFile("debian-binary", "2.0\n", "data.tar", tarFile(f, tar.Header{Name: "boot/vmlinuz-1", Typeflag: tar.TypeReg, Linkname: "k"})))
	f.Add(arFile("a", "x", "data.tar.gz", string(gzipped([]byte("x")))))
	root := newTree(f).root
	f.Fuzz(func(t *testing.T, data []byte) {
		out := &tree{root: root}
		_ = unpackDeb(context.Background(), bytes.NewReader(data), out) // must not panic or hang
		if out.files > 0 {
			root.RemoveAll("boot")
			root.RemoveAll("lib")
		}
	})
}

func FuzzRPM(f *testing.F) {
	f.Add(rpmFile([]byte("070701")))
	root := newTree(f).root
	f.Fuzz(func(t *testing.T, data []byte) {
		out := &tree{root: root}
		_ = unpackRPM(context.Background(), bytes.NewReader(data), out) // must not panic or hang
		if out.files > 0 {
			root.RemoveAll("boot")
			root.RemoveAll("lib")
		}
	})
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
