package initrd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runv-legacy/runv-legacy/initrd"
)

// member is one raw entry, with every header field free to be wrong.
func member(fields map[int]string, name, body string) string {
	f := make([]string, 13)
	for i := range f {
		f[i] = "00000000"
	}
	f[1] = "000081A4" // a regular file, 0644
	f[4] = "00000001"
	f[6] = fmt.Sprintf("%08X", len(body))
	f[11] = fmt.Sprintf("%08X", len(name)+1)
	for i, v := range fields {
		f[i] = v
	}
	s := "070701" + strings.Join(f, "") + name + "\x00"
	s += strings.Repeat("\x00", (4-len(s)%4)%4) + body
	return s + strings.Repeat("\x00", (4-len(s)%4)%4)
}

const trailer = "TRAILER!!!"

func TestReadRefuses(t *testing.T) {
	end := member(nil, trailer, "")
	cases := map[string]struct {
		archive string
		want    error
	}{
		"nothing":             {"", initrd.ErrArchive},
		"no trailer":          {member(nil, "a", "x"), initrd.ErrArchive},
		"wrong magic":         {"070702" + member(nil, "a", "")[6:] + end, initrd.ErrArchive},
		"old portable format": {"070707" + strings.Repeat("0", 200), initrd.ErrArchive},
		"negative size":       {member(map[int]string{6: "-0000001"}, "a", "") + end, initrd.ErrArchive},
		"plus sign":           {member(map[int]string{6: "+0000001"}, "a", "b") + end, initrd.ErrArchive},
		"size beyond the end": {member(map[int]string{6: "00000050"}, "a", "b"), initrd.ErrArchive},
		"huge size":           {member(map[int]string{6: "FFFFFFFF"}, "a", ""), initrd.ErrLimit},
		"no name":             {member(map[int]string{11: "00000000"}, "", "") + end, initrd.ErrArchive},
		"huge name":           {member(map[int]string{11: "FFFFFFFF"}, "a", "") + end, initrd.ErrArchive},
		"name without NUL":    {member(map[int]string{11: "00000002"}, "abcdefgh", "") + end, initrd.ErrArchive},
		"NUL in the name":     {member(nil, "a\x00b", "") + end, initrd.ErrArchive},
		"parent":              {member(nil, "../a", "") + end, initrd.ErrArchive},
		"parent behind dot":   {member(nil, "./../a", "") + end, initrd.ErrArchive},
		"parent in the name":  {member(nil, "a/../../b", "") + end, initrd.ErrArchive},
		"twice":               {member(nil, "a", "") + member(nil, "./a", "") + end, initrd.ErrArchive},
		"folder with data":    {member(map[int]string{1: "000041ED"}, "a", "x") + end, initrd.ErrArchive},
		"unknown type":        {member(map[int]string{1: "000001A4"}, "a", "") + end, initrd.ErrArchive},
		"empty symlink":       {member(map[int]string{1: "0000A1FF"}, "a", "") + end, initrd.ErrArchive},
		"too many":            {member(nil, "a", "") + member(nil, "b", "") + member(nil, "c", "") + end, initrd.ErrLimit},
		"too much":            {member(nil, "a", strings.Repeat("x", 60)) + member(nil, "b", strings.Repeat("x", 60)) + end, initrd.ErrLimit},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := initrd.Read(strings.NewReader(c.archive), initrd.Limits{Entries: 2, FileSize: 1 << 20, TotalSize: 100})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestReadAllocatesNoMoreThanWhatCame(t *testing.T) {
	lie := member(map[int]string{6: "0F000000"}, "a", "")
	got := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, err := initrd.Read(strings.NewReader(lie), initrd.Limits{}); err == nil {
				b.Fatal("no error")
			}
		}
	}).AllocedBytesPerOp()
	if got > 64<<10 {
		t.Errorf("a header that claims 240 MiB made Read allocate %d bytes", got)
	}
}

func TestReadResolvesHardLinks(t *testing.T) {
	link := map[int]string{0: "00000007", 4: "00000002"}
	for name, archive := range map[string]string{
		"data last":  member(link, "a", "") + member(link, "b", "both"),
		"data first": member(link, "a", "both") + member(link, "b", ""),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := initrd.Read(strings.NewReader(archive+member(nil, trailer, "")), initrd.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 2 || string(got[0].Data) != "both" || string(got[1].Data) != "both" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// What GNU cpio makes of a real folder, with its "." entry and hard links.
func TestReadWhatCpioWrote(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("no cpio command (Debian package cpio)")
	}
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "etc/x"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "etc/x/file"), []byte("content"), 0o640))
	must(t, os.Link(filepath.Join(dir, "etc/x/file"), filepath.Join(dir, "hard")))
	must(t, os.Symlink("etc/x", filepath.Join(dir, "soft")))
	cmd := exec.Command("sh", "-c", "find . | cpio --quiet -o -H newc")
	cmd.Dir = dir
	out, err := cmd.Output()
	must(t, err)
	entries, err := initrd.Read(bytes.NewReader(out), initrd.Limits{})
	must(t, err)
	got := map[string]string{}
	for _, e := range entries {
		got[e.Name] = fmt.Sprintf("%o %s%s", e.Mode, e.Data, e.Link)
	}
	want := map[string]string{
		"etc": "40755 ", "etc/x": "40755 ", "etc/x/file": "100640 content",
		"hard": "100640 content", "soft": "120777 etc/x",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func FuzzRead(f *testing.F) {
	var buf bytes.Buffer
	must(f, initrd.Write(&buf, sample()))
	f.Add(buf.Bytes())
	f.Add([]byte(member(map[int]string{0: "00000007", 4: "00000002"}, "./a", "x") + member(nil, trailer, "")))
	f.Add([]byte(member(map[int]string{6: "-0000001"}, "a", "")))
	f.Fuzz(func(t *testing.T, archive []byte) {
		entries, err := initrd.Read(bytes.NewReader(archive), initrd.Limits{Entries: 100, TotalSize: 1 << 20})
		if err != nil {
			return
		}
		for _, e := range entries {
			if err := e.Validate(); err != nil {
				t.Fatalf("Read gave an entry that cannot be written: %v", err)
			}
		}
		// An entry below a file is a valid one whose archive is not.
		if err := initrd.Write(io.Discard, entries); err != nil && !errors.Is(err, initrd.ErrEntry) {
			t.Fatal(err)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
