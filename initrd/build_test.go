package initrd_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/runv-legacy/runv-legacy/initrd"
)

const elf = "\x7fELF"

func TestBuildHasWhatAKernelNeedsBeforeInit(t *testing.T) {
	data, err := initrd.Build(context.Background(), initrd.Options{Init: []byte("init")})
	must(t, err)
	e := unpack(t, data)
	if c := e["dev/console"]; c.Type() != initrd.TypeChar || c.Major != 5 || c.Minor != 1 {
		t.Errorf("dev/console is %+v", c)
	}
	if i := e["init"]; i.Perm() != 0o755 || string(i.Data) != "init" {
		t.Errorf("init is %+v", i)
	}
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "etc", "mnt", "root"} {
		if e[dir].Type() != initrd.TypeDir {
			t.Errorf("no folder %s", dir)
		}
	}
	if _, ok := e[initrd.ModulesList]; ok {
		t.Error("a kernel without modules has a list of them")
	}
}

func TestBuildListsModulesInTheGivenOrder(t *testing.T) {
	modules := []initrd.Module{{Path: "kernel/z/virtio_ring.ko", Data: []byte(elf + "1")}, {Path: "kernel/a/virtio.ko", Data: []byte(elf + "2")}}
	data, err := initrd.Build(context.Background(), initrd.Options{Init: []byte("i"), Release: "6.1.0-9-amd64", Modules: modules})
	must(t, err)
	e := unpack(t, data)
	want := "/lib/modules/6.1.0-9-amd64/kernel/z/virtio_ring.ko\n/lib/modules/6.1.0-9-amd64/kernel/a/virtio.ko\n"
	if got := string(e[initrd.ModulesList].Data); got != want {
		t.Errorf("list is %q, want %q", got, want)
	}
	if got := string(e["lib/modules/6.1.0-9-amd64/kernel/a/virtio.ko"].Data); got != elf+"2" {
		t.Errorf("module is %q", got)
	}
}

func TestBuildRefuses(t *testing.T) {
	module := initrd.Module{Path: "kernel/a.ko", Data: []byte(elf)}
	for name, opts := range map[string]initrd.Options{
		"modules without a release": {Modules: []initrd.Module{module}},
		"a release that is a path":  {Release: "../x", Modules: []initrd.Module{module}},
		"a compressed module":       {Release: "1", Modules: []initrd.Module{{Path: "a.ko.xz", Data: []byte("\xfd7zXZ")}}},
		"a module outside":          {Release: "1", Modules: []initrd.Module{{Path: "../a.ko", Data: []byte(elf)}}},
		"a line break":              {Release: "1", Modules: []initrd.Module{{Path: "a\nb.ko", Data: []byte(elf)}}},
		"a second init":             {ExtraEntries: []initrd.Entry{initrd.File("init", 0o755, nil)}},
	} {
		t.Run(name, func(t *testing.T) {
			opts.Init = []byte("i")
			if _, err := initrd.Build(context.Background(), opts); !errors.Is(err, initrd.ErrEntry) {
				t.Errorf("got %v, want ErrEntry", err)
			}
		})
	}
}

// The size that a user of our own kernels pays, with the real process 1.
func TestBuildIsSmallAndReproducible(t *testing.T) {
	first, err := initrd.Build(context.Background(), initrd.Options{})
	must(t, err)
	second, err := initrd.Build(context.Background(), initrd.Options{})
	must(t, err)
	if !bytes.Equal(first, second) {
		t.Error("two builds differ")
	}
	const limit = 3 << 20
	t.Logf("initrd: %d bytes compressed, guestinit %d", len(first), len(unpack(t, first)["init"].Data))
	if len(first) >= limit {
		t.Errorf("the initrd has %d bytes, limit %d", len(first), limit)
	}
}

func TestMakeEmbeddedRefusesAnotherProject(t *testing.T) {
	err := initrd.MakeEmbedded(context.Background(), t.TempDir(), nil)
	if err == nil || !strings.Contains(err.Error(), "not a checkout") {
		t.Errorf("got %v", err)
	}
}
