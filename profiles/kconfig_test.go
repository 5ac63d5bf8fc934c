package profiles

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every symbol that a built-in profile asks for must come out as asked when
// the kernel's own make configures the real source. Only the parts of the
// tree that Kconfig reads are unpacked.
func TestFragmentsAgainstRealSource(t *testing.T) {
	cases := map[string]string{
		"2.6.32":     os.Getenv("RUNV_TEST_LINUX_2_6_32"),
		"3.10":       os.Getenv("RUNV_TEST_LINUX_3_10"),
		"5.10":       os.Getenv("RUNV_TEST_LINUX_5_10"),
		"debian-6.1": os.Getenv("RUNV_TEST_LINUX_6_1"),
	}
	for name, tarball := range cases {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("unpacks a kernel's source; not with -short")
			}
			if _, err := os.Stat(tarball); err != nil {
				t.Skipf("no source for %s: %v (RUNV_TEST_LINUX_* name tarballs)", name, err)
			}
			p := load(t, name)
			tree := unpackKconfig(t, tarball)
			asked, all := askedSymbols(t, p)
			got := configure(t, tree, p, all)
			for symbol, want := range asked {
				value, ok := got[symbol]
				if !ok {
					value = "n"
				}
				if value != want {
					t.Errorf("CONFIG_%s is %s, want %s", symbol, value, want)
				}
			}
		})
	}
}

func unpackKconfig(t *testing.T, tarball string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("tar", "-xf", tarball, "-C", dir, "--strip-components=1", "--wildcards", "--no-anchored",
		"*Kconfig*", "*Makefile*", "*Kbuild*", "*/scripts/*", "*/arch/x86/*")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v\n%s", tarball, err, out)
	}
	return dir
}

// askedSymbols gives what the fragments ask for, the later of two winning,
// and a file that asks for just that.
func askedSymbols(t *testing.T, p *Profile) (map[string]string, string) {
	t.Helper()
	asked := map[string]string{}
	for line := range strings.Lines(string(allFragments(p))) {
		line = strings.TrimSpace(line)
		if m := fragmentSet.FindStringSubmatch(line); m != nil {
			asked[m[1]] = m[2]
		} else if m := fragmentUnset.FindStringSubmatch(line); m != nil {
			asked[m[1]] = "n"
		}
	}
	var b bytes.Buffer
	for symbol, value := range asked {
		if value == "n" {
			b.WriteString("# CONFIG_" + symbol + " is not set\n")
		} else {
			b.WriteString("CONFIG_" + symbol + "=" + value + "\n")
		}
	}
	file := filepath.Join(t.TempDir(), "all.config")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return asked, file
}

func configure(t *testing.T, tree string, p *Profile, all string) map[string]string {
	t.Helper()
	cc := strings.Join(append([]string{p.Toolchain.CC}, p.Toolchain.CFlags...), " ")
	cmd := exec.Command("make", "-C", tree, "ARCH="+p.Kernel.Arch, "CC="+cc, p.Config.Base)
	cmd.Env = append(os.Environ(), "KCONFIG_ALLCONFIG="+all)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", p.Config.Base, err, out)
	}
	config, err := os.Open(filepath.Join(tree, ".config"))
	if err != nil {
		t.Fatal(err)
	}
	defer config.Close()
	got := map[string]string{}
	for s := bufio.NewScanner(config); s.Scan(); {
		if m := fragmentSet.FindStringSubmatch(s.Text()); m != nil {
			got[m[1]] = m[2]
		}
	}
	return got
}
