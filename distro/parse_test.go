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
