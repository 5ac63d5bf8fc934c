package profiles

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestListNamesEveryBuiltin(t *testing.T) {
	summaries, err := List()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range summaries {
		names = append(names, s.Name)
		if s.Description == "" {
			t.Errorf("profile %s has no description", s.Name)
		}
	}
	want := []string{"2.6.32", "3.10", "5.10", "6.1", "debian-5.10", "debian-6.1"}
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if first := summaries[0]; !slices.Equal(first.Aliases, []string{"legacy"}) || first.Version != "2.6.32.71" {
		t.Errorf("first profile is %+v", first)
	}
}

func TestAliasLoadsTheSameProfile(t *testing.T) {
	byName, byAlias := load(t, "2.6.32"), load(t, "legacy")
	if !reflect.DeepEqual(byName, byAlias) {
		t.Error("legacy and 2.6.32 differ")
	}
}

func TestResolvedProfileGolden(t *testing.T) {
	got, err := json.MarshalIndent(load(t, "2.6.32"), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "2.6.32.json")
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(got, '\n'), want) {
		t.Errorf("the resolved profile is not %s; run go test -update and read the difference", golden)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	want := load(t, "6.1")
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Profile
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, want) {
		t.Error("a profile that went through JSON is not the same")
	}
	spoiled := bytes.Replace(data, []byte("CONFIG_SMP=y"), []byte("CONFIG_SMP=n"), 1)
	if err := json.Unmarshal(spoiled, &got); err == nil || !strings.Contains(err.Error(), "base.config") {
		t.Errorf("JSON whose fragment was changed: %v, want an error that names base.config", err)
	}
}

// The machine may offer as many processors as the kernel was built for, and
// the fragment that says how many is another file.
func TestBuiltinsAgreeWithTheirFragments(t *testing.T) {
	cpus := regexp.MustCompile(`(?m)^CONFIG_NR_CPUS=(\d+)$`)
	for _, name := range builtinNames(t) {
		p := load(t, name)
		config := allFragments(p)
		m := cpus.FindSubmatch(config)
		if m == nil || string(m[1]) != strconv.Itoa(p.Machine.MaxVCPUs) {
			t.Errorf("%s: machine.maxVCPUs is %d, NR_CPUS is %q", name, p.Machine.MaxVCPUs, m)
		}
		needs := map[string]string{
			"9p": "9P_FS", "ext4": "EXT4_FS", "squashfs": "SQUASHFS", "overlayfs": "OVERLAY_FS", "fuse": "FUSE_FS",
			"ipv6": "IPV6", "netfilter": "NETFILTER", "ia32": "IA32_EMULATION", "vsyscall": "X86_VSYSCALL_EMULATION",
			"namespaces": "NAMESPACES", "cgroup-v1": "CGROUPS", "cgroup-v2": "CGROUPS", "cgroup-pids": "CGROUP_PIDS",
			"cgroup-cpu-quota": "CFS_BANDWIDTH", "cgroup-blkio": "BLK_CGROUP", "seccomp-strict": "SECCOMP",
			"seccomp-filter": "SECCOMP_FILTER", "user-namespaces": "USER_NS", "setns": "NAMESPACES",
			"devpts-newinstance": "UNIX98_PTYS", "virtio-console-multiport": "VIRTIO_CONSOLE",
			"pci-hotplug": "HOTPLUG_PCI_ACPI", "cpu-hotplug": "ACPI_HOTPLUG_CPU",
			"memory-hotplug": "ACPI_HOTPLUG_MEMORY", "kvm-clock": "KVM_GUEST",
		}
		for _, feature := range p.Guest.Features {
			symbol, known := needs[feature]
			if !known || !bytes.Contains(config, []byte("\nCONFIG_"+symbol+"=y\n")) {
				t.Errorf("%s: feature %s is promised, but CONFIG_%s=y is not asked for", name, feature, symbol)
			}
		}
	}
}

// Overriding a symbol in a later fragment is for users; our own say each
// thing once, or a reader of one file would be misled.
func TestBuiltinFragmentsSetEachSymbolOnce(t *testing.T) {
	for _, name := range builtinNames(t) {
		seen := map[string]string{}
		for _, f := range load(t, name).Config.Fragments {
			for line := range strings.Lines(string(f.Data)) {
				line = strings.TrimSpace(line)
				m := fragmentSet.FindStringSubmatch(line)
				if m == nil {
					m = fragmentUnset.FindStringSubmatch(line)
				}
				if m == nil {
					continue
				}
				if earlier, ok := seen[m[1]]; ok {
					t.Errorf("%s: CONFIG_%s is set in %s and in %s", name, m[1], earlier, f.Name)
				}
				seen[m[1]] = f.Name
			}
		}
	}
}

func TestDebianProfilesChangeOnlyTheSource(t *testing.T) {
	for _, series := range []string{"5.10", "6.1"} {
		upstream, debian := load(t, series), load(t, "debian-"+series)
		want := []Source{{Type: SourceDebian, Package: "linux-source-" + series, Path: "/usr/src/linux-source-" + series + ".tar.xz"}}
		if !reflect.DeepEqual(debian.Sources, want) {
			t.Errorf("sources of debian-%s: %+v", series, debian.Sources)
		}
		if debian.Kernel.Version != series || !strings.HasPrefix(upstream.Kernel.Version, series+".") {
			t.Errorf("versions are %q and %q", upstream.Kernel.Version, debian.Kernel.Version)
		}
		debian.Name, debian.Description, debian.Extends = upstream.Name, upstream.Description, upstream.Extends
		debian.Sources, debian.Kernel.Version = upstream.Sources, upstream.Kernel.Version
		if !reflect.DeepEqual(debian, upstream) {
			t.Errorf("debian-%s differs from %s in more than its source", series, series)
		}
	}
}

func TestExtendsMerges(t *testing.T) {
	t.Chdir(writeFiles(t, map[string]string{
		"parent.yaml": `name: parent
aliases: [elder]
description: the parent
kernel: {version: 4.19.325, localVersion: -parent}
sources:
  - {type: debian, package: linux-source-4.19, path: /usr/src/linux-source-4.19.tar.xz, sha256: 607bed7de5cda31a443df4c8a78dbe5e8a9ad31afde2a4d28fe99ab4730e8de1}
config: {base: defconfig, fragments: [parent.config]}
backports: {series: p, sets: [toolchain]}
toolchain: {cc: gcc-12, cflags: [-fno-pie], makeVars: {V: 1, W: 1}}
guest: {append: [quiet], features: [9p, ext4]}
machine: {type: q35, virtio: modern, cpu: qemu64, minMemoryMiB: 64, maxVCPUs: 4, acpi: false}
`,
		"child.yaml": `name: child
extends: ./parent.yaml
kernel: {localVersion: -child}
config: {fragments: [child.config, 'builtin:fragments/debug.config']}
backports: {sets: [extra, toolchain], exclude: [0001]}
toolchain: {cflags: [-no-pie], makeVars: {V: 2}}
guest: {append: [quiet, panic=1], features: [ext4, fuse]}
machine: {maxVCPUs: 8, acpi: true}
`,
		"parent.config": "CONFIG_NET=y\n",
		"child.config":  "# CONFIG_NET is not set\n",
	}))
	got := load(t, "child.yaml")
	var fragments []string
	for _, f := range got.Config.Fragments {
		fragments = append(fragments, f.Name)
	}
	if want := []string{"parent.config", "child.config", "builtin:fragments/debug.config"}; !slices.Equal(fragments, want) {
		t.Errorf("fragments are %q, want %q", fragments, want)
	}
	acpi := true
	got.Config.Fragments = nil
	want := &Profile{
		Name: "child", Extends: "./parent.yaml",
		Kernel: Kernel{Version: "4.19.325", Arch: "x86_64", LocalVersion: "-child"},
		Sources: []Source{{Type: SourceDebian, Package: "linux-source-4.19", Path: "/usr/src/linux-source-4.19.tar.xz",
			SHA256: "607bed7de5cda31a443df4c8a78dbe5e8a9ad31afde2a4d28fe99ab4730e8de1"}},
		Config:    Config{Base: "defconfig"},
		Backports: Backports{Series: "p", Sets: []string{"toolchain", "extra"}, Exclude: []string{"0001"}},
		Toolchain: Toolchain{CC: "gcc-12", CFlags: []string{"-fno-pie", "-no-pie"}, MakeVars: map[string]string{"V": "2", "W": "1"},
			Target: "bzImage", Image: "arch/x86/boot/bzImage"},
		Guest:   Guest{Append: []string{"quiet", "quiet", "panic=1"}, Features: []string{"9p", "ext4", "fuse"}},
		Machine: Machine{Type: "q35", Virtio: VirtioModern, CPU: "qemu64", MinMemoryMiB: 64, MaxVCPUs: 8, ACPI: &acpi},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// A version is a name, not a number: 3.10 is not 3.1.
func TestUnquotedVersionKeepsItsSpelling(t *testing.T) {
	if got := load(t, "3.10").Name; got != "3.10" {
		t.Errorf("name is %q", got)
	}
	if got := load(t, "debian-5.10").Kernel.Version; got != "5.10" {
		t.Errorf("version is %q", got)
	}
}

func TestFragmentsAreFoundBesideTheProfile(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"mine.yaml":   "name: mine\nextends: 6.1\nconfig:\n  fragments: [mine.config]\n",
		"mine.config": "CONFIG_BTRFS_FS=y\n",
	})
	p := load(t, filepath.Join(dir, "mine.yaml"))
	last := p.Config.Fragments[len(p.Config.Fragments)-1]
	if want := filepath.Join(dir, "mine.config"); last.Name != want || string(last.Data) != "CONFIG_BTRFS_FS=y\n" {
		t.Errorf("last fragment is %s: %q, want %s", last.Name, last.Data, want)
	}
}

// docs/profiles.md shows one whole profile; it must load as shown.
func TestDocumentedExampleLoads(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "profiles.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^`([a-z.-]+)`:\n\n```[a-z]*\n(.*?)^```$").FindAllStringSubmatch(string(doc), -1)
	example := map[string]string{}
	for _, b := range blocks {
		example[b[1]] = b[2]
	}
	for _, name := range []string{"build-farm.yaml", "build-farm.config"} {
		if example[name] == "" {
			t.Fatalf("docs/profiles.md has no block for %s", name)
		}
	}
	t.Chdir(writeFiles(t, example))
	p := load(t, "build-farm.yaml")
	if p.Name != "build-farm" || !bytes.Contains(allFragments(p), []byte(example["build-farm.config"])) {
		t.Errorf("the example loads as %+v", p)
	}
	for field := range reflect.TypeFor[Profile]().Fields() {
		if key := strings.Split(field.Tag.Get("json"), ",")[0]; !strings.Contains(example["build-farm.yaml"], "\n"+key+":") && key != "name" {
			t.Errorf("the example does not show the field %s", key)
		}
	}
}

// Every field a file may have is described.
func TestEveryFieldIsDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "profiles.md"))
	if err != nil {
		t.Fatal(err)
	}
	var walk func(prefix string, ty reflect.Type)
	walk = func(prefix string, ty reflect.Type) {
		for f := range ty.Fields() {
			key := f.Tag.Get("yaml")
			if key == "" {
				continue
			}
			inner := f.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			leaf := inner == reflect.TypeFor[text]() || inner == reflect.TypeFor[integer]() || inner == reflect.TypeFor[boolean]()
			if inner.Kind() == reflect.Struct && !leaf {
				walk(prefix+key+".", inner)
			} else if !bytes.Contains(doc, []byte("| `"+prefix+key+"` |")) {
				t.Errorf("docs/profiles.md does not describe %s%s", prefix, key)
			}
		}
	}
	walk("", reflect.TypeFor[document]())
}

func load(t *testing.T, nameOrFile string) *Profile {
	t.Helper()
	p, err := Load(nameOrFile)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func builtinNames(t *testing.T) []string {
	t.Helper()
	summaries, err := List()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range summaries {
		names = append(names, s.Name)
	}
	return names
}

func allFragments(p *Profile) []byte {
	var all []byte
	for _, f := range p.Config.Fragments {
		all = append(append(all, '\n'), f.Data...)
	}
	return all
}
