package initrd_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"

	"github.com/runv-legacy/runv-legacy/initrd"
)

func sample() []initrd.Entry {
	return []initrd.Entry{
		initrd.File("sbin/deep/tool", 0o4755, []byte("tool\n")),
		initrd.Symlink("bin", "sbin"),
		initrd.CharDevice("dev/console", 0o600, 5, 1),
		initrd.BlockDevice("dev/vda", 0o660, 254, 0),
		initrd.Dir("tmp", 0o1777),
		initrd.File("empty", 0o644, nil),
		initrd.Entry{Name: "pipe", Mode: initrd.TypeFifo | 0o600},
	}
}

func write(t *testing.T, entries []initrd.Entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := initrd.Write(&buf, entries); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestWriteDoesNotDependOnTheOrder(t *testing.T) {
	entries := sample()
	first := write(t, entries)
	for i := range entries {
		turned := append(append([]initrd.Entry{}, entries[i:]...), entries[:i]...)
		if !bytes.Equal(first, write(t, turned)) {
			t.Fatalf("the archive changes when entry %d comes first", i)
		}
	}
}

func TestWriteAddsParentsBeforeChildren(t *testing.T) {
	got, err := initrd.Read(bytes.NewReader(write(t, sample())), initrd.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, e := range got {
		at[e.Name] = i
	}
	for _, pair := range [][2]string{{"sbin", "sbin/deep"}, {"sbin/deep", "sbin/deep/tool"}, {"dev", "dev/console"}} {
		parent, ok := at[pair[0]]
		if !ok || parent >= at[pair[1]] {
			t.Errorf("%s is not before %s: %v", pair[0], pair[1], at)
		}
	}
}

func TestReadGivesBackWhatWriteWrote(t *testing.T) {
	got, err := initrd.Read(bytes.NewReader(write(t, sample())), initrd.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]initrd.Entry{}
	for _, e := range got {
		byName[e.Name] = e
	}
	for _, want := range sample() {
		e := byName[want.Name]
		if e.Mode != want.Mode || e.Link != want.Link || e.Major != want.Major || e.Minor != want.Minor || !bytes.Equal(e.Data, want.Data) {
			t.Errorf("%s: got %+v, want %+v", want.Name, e, want)
		}
	}
}

// The library's own reader, other than ours, agrees on names and sizes.
func TestLibraryReadsOurArchive(t *testing.T) {
	r := cpio.NewReader(bytes.NewReader(write(t, sample())))
	names := map[string]string{}
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names[h.Name] = h.Linkname + string(data)
	}
	if names["sbin/deep/tool"] != "tool\n" || names["bin"] != "sbin" || len(names) != 10 {
		t.Errorf("got %q", names)
	}
}

func TestCpioListsOurArchive(t *testing.T) {
	tool, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("no cpio command (Debian package cpio)")
	}
	cmd := exec.Command(tool, "-itv", "--numeric-uid-gid")
	cmd.Env = append(cmd.Environ(), "TZ=UTC", "LC_ALL=C")
	cmd.Stdin = bytes.NewReader(write(t, sample()))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"crw-------   1 0        0          5,   1 Jan  1  1970 dev/console",
		"brw-rw----   1 0        0        254,   0 Jan  1  1970 dev/vda",
		"-rwsr-xr-x   1 0        0               5 Jan  1  1970 sbin/deep/tool",
		"drwxrwxrwt   1 0        0               0 Jan  1  1970 tmp",
		"bin -> sbin",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("cpio -t does not show %q:\n%s", want, out)
		}
	}
}

func TestWriteRefusesWhatAKernelWouldLose(t *testing.T) {
	cases := map[string][]initrd.Entry{
		"empty name":         {initrd.File("", 0o644, nil)},
		"absolute":           {initrd.File("/etc/passwd", 0o644, nil)},
		"parent":             {initrd.File("../x", 0o644, nil)},
		"parent inside":      {initrd.File("a/../../x", 0o644, nil)},
		"dot":                {initrd.Dir(".", 0o755)},
		"trailing slash":     {initrd.Dir("a/", 0o755)},
		"nul":                {initrd.File("a\x00b", 0o644, nil)},
		"trailer":            {initrd.File("TRAILER!!!", 0o644, nil)},
		"too long":           {initrd.File(strings.Repeat("a/", 2047)+"bb", 0o644, nil)},
		"twice":              {initrd.File("a", 0o644, nil), initrd.Dir("a", 0o755)},
		"below a file":       {initrd.File("a", 0o644, nil), initrd.File("a/b", 0o644, nil)},
		"no target":          {initrd.Symlink("a", "")},
		"long target":        {initrd.Symlink("a", strings.Repeat("x", 4096))},
		"no type":            {{Name: "a", Mode: 0o644}},
		"folder with data":   {{Name: "a", Mode: initrd.TypeDir | 0o755, Data: []byte("x")}},
		"file with a device": {{Name: "a", Mode: initrd.TypeFile | 0o644, Major: 5}},
		"device number":      {initrd.CharDevice("a", 0o600, 4096, 0)},
	}
	for name, entries := range cases {
		t.Run(name, func(t *testing.T) {
			if err := initrd.Write(io.Discard, entries); !errors.Is(err, initrd.ErrEntry) {
				t.Errorf("got %v, want ErrEntry", err)
			}
		})
	}
}

func TestCompressNamesNoTimeAndNoFile(t *testing.T) {
	data, err := initrd.Compress(sample())
	if err != nil {
		t.Fatal(err)
	}
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if zr.Name != "" || !zr.ModTime.IsZero() || zr.Comment != "" || len(zr.Extra) != 0 {
		t.Errorf("gzip header %+v", zr.Header)
	}
}
