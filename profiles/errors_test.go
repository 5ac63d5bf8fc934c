package profiles

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// minimal is the smallest file that loads. Cases below change one part of it.
const minimal = `name: mine
extends: 2.6.32
`

// whole has every kind of field, so that a case can spoil any of them.
const whole = `name: mine
aliases: [own]
description: a profile of my own
kernel:
  version: 4.19.325
  localVersion: -mine
sources:
  - type: upstream
    urls: [https://example.org/linux-4.19.325.tar.xz]
    sha256: 607bed7de5cda31a443df4c8a78dbe5e8a9ad31afde2a4d28fe99ab4730e8de1
config:
  fragments: [own.config]
backports:
  series: mine
  sets: [toolchain]
toolchain:
  minGcc: 8
  maxGcc: 14
  cflags: [-fno-pie]
  makeVars:
    V: 1
guest:
  append: [console=ttyS0]
  features: [9p]
machine:
  virtio: transitional
  minMemoryMiB: 64
  maxVCPUs: 2
  acpi: true
`

func TestLoadError(t *testing.T) {
	// change spoils whole: the first string is replaced by the second. want
	// is the whole message, without the folder.
	cases := map[string]struct {
		old, new string
		want     string
	}{
		"unknown field": {"localVersion: -mine", "localversion: -mine",
			"mine.yaml:6:3: kernel.localversion: no such field; write one of version, arch, localVersion"},
		"unknown top field": {"guest:", "guests:",
			"mine.yaml:22:1: guests: no such field; write one of name, aliases, description, extends, kernel, sources, config, backports, toolchain, guest, machine"},
		"duplicate field": {"  localVersion: -mine", "  version: 4.19.1",
			`mine.yaml:6:3: mapping key "version" already defined at [5:3]`},
		"list for text": {"version: 4.19.325", "version: [4, 19]",
			"mine.yaml:5:12: kernel.version: want a string, found a list"},
		"truth for text": {"description: a profile of my own", "description: yes please\nextends: true",
			"mine.yaml:4:10: extends: want a string, found a truth value (quote it if text is meant)"},
		"text for number": {"minGcc: 8", "minGcc: eight",
			"mine.yaml:17:11: toolchain.minGcc: want an integer, found a string"},
		"number too large": {"minGcc: 8", "minGcc: 99999999999999999999",
			"mine.yaml:17:11: toolchain.minGcc: want an integer, found a string"},
		"number out of range": {"maxVCPUs: 2", "maxVCPUs: 1000",
			"mine.yaml:28:13: machine.maxVCPUs: 1000 is out of range; write a number from 1 to 255"},
		"text for truth": {"acpi: true", "acpi: 'on'",
			"mine.yaml:29:9: machine.acpi: want true or false, found a string"},
		"text for list": {"aliases: [own]", "aliases: own",
			"mine.yaml:2:10: aliases: want a list, found a string"},
		"list for mapping": {"guest:\n  append: [console=ttyS0]\n  features: [9p]", "guest: [quiet]",
			"mine.yaml:22:8: guest: want a mapping, found a list"},
		"empty mapping": {"guest:\n  append: [console=ttyS0]\n  features: [9p]", "guest:",
			"mine.yaml:22:7: guest: the field is empty; give it a value or remove it"},
		"blank text": {"description: a profile of my own", "description: ' '",
			"mine.yaml:3:14: description: the field is empty; give it a value or remove it"},
		"anchor": {"aliases: [own]", "aliases: &a [own]",
			"mine.yaml:2:10: aliases: a profile cannot use YAML anchors, aliases, merge keys or tags; write the value out, or share it through extends"},
		"merge key": {"guest:\n", "guest:\n  <<: {append: [quiet]}\n",
			"mine.yaml:23:3: guest.<<: a profile cannot use YAML anchors, aliases, merge keys or tags; write the value out, or share it through extends"},
		"broken syntax": {"aliases: [own]", "aliases: [own",
			"mine.yaml:3:1: ',' or ']' must be specified"},
		"two documents": {"machine:", "---\nmachine:",
			"mine.yaml:1:1: the file holds 2 YAML documents with content, want one; write one YAML document with the fields of a profile"},

		"missing name": {"name: mine\n", "",
			"mine.yaml:1:1: name: the field is missing; give the profile a name"},
		"bad name": {"name: mine", "name: My Own",
			`mine.yaml:1:7: name: "My Own" is not valid; use at most 63 lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit`},
		"name of a built-in": {"name: mine", "name: legacy",
			`mine.yaml:1:7: name: "legacy" already names the built-in profile 2.6.32; choose another name`},
		"alias of a built-in": {"aliases: [own]", "aliases: [own, 6.1]",
			`mine.yaml:2:16: aliases[1]: "6.1" already names the built-in profile 6.1; choose another word`},
		"duplicate alias": {"aliases: [own]", "aliases: [own, own]",
			`mine.yaml:2:16: aliases[1]: "own" is listed twice; remove it`},
		"alias is name": {"aliases: [own]", "aliases: [mine]",
			`mine.yaml:2:11: aliases[0]: "mine" is the profile's name; remove it`},

		"missing version": {"  version: 4.19.325\n", "",
			"mine.yaml:1:1: kernel.version: the field is missing; write the kernel's release, such as 6.1.187"},
		"bad version": {"version: 4.19.325", "version: v4.19-rc1",
			`mine.yaml:5:12: kernel.version: "v4.19-rc1" is not valid; write a release such as 2.6.32.71 or 6.1.187, without a suffix`},
		"series with upstream source": {"version: 4.19.325", "version: 4.19",
			`mine.yaml:5:12: kernel.version: "4.19" is a series, and an upstream source is one release; write the release that the tarball holds`},
		"bad architecture": {"  localVersion: -mine", "  arch: i386",
			`mine.yaml:6:9: kernel.arch: "i386" is not known; write x86_64`},
		"bad local version": {"localVersion: -mine", "localVersion: mine",
			`mine.yaml:6:17: kernel.localVersion: "mine" is not valid; begin with '-', then at most 31 letters, digits, '.', '_' and '-'`},

		"no source type": {"  - type: upstream\n    urls:", "  - urls:",
			"mine.yaml:1:1: sources[0].type: the field is missing; write upstream or debian"},
		"bad source type": {"type: upstream", "type: git",
			`mine.yaml:8:11: sources[0].type: "git" is not known; write upstream or debian`},
		"no source": {"  - type: upstream\n    urls: [https://example.org/linux-4.19.325.tar.xz]\n    sha256: 607bed7de5cda31a443df4c8a78dbe5e8a9ad31afde2a4d28fe99ab4730e8de1\n", "  []\n",
			"mine.yaml:1:1: sources: there is no source; add a source, or extend a profile that has one"},
		"bad sha256": {"sha256: 607bed7d", "sha256: 607BED7D",
			`mine.yaml:10:13: sources[0].sha256: "607BED7De5cda31a443df4c8a78dbe5e8a9ad31afde2a4d28fe99ab4730e8de1" is not valid; write 64 lower-case hex digits, as sha256sum prints them`},
		"missing sha256": {"    sha256: 607bed7de5cda31a443df4c8a78dbe5e8a9ad31afde2a4d28fe99ab4730e8de1\n", "",
			"mine.yaml:8:11: sources[0].sha256: the field is missing; write the tarball's sha256: an upstream source is never used unchecked"},
		"bad url": {"urls: [https:", "urls: [ftp:",
			`mine.yaml:9:12: sources[0].urls[0]: "ftp://example.org/linux-4.19.325.tar.xz" is not valid; write an http or https URL without user or password`},
		"password in url": {"https://example.org", "https://me:secret@example.org",
			`mine.yaml:9:12: sources[0].urls[0]: "https://me:secret@example.org/linux-4.19.325.tar.xz" is not valid; write an http or https URL without user or password`},
		"field of the other type": {"type: upstream", "type: debian\n    package: linux-source-4.19\n    path: /usr/src/x.tar.xz",
			"mine.yaml:8:11: sources[0].urls: a source of type debian has no such field; remove it"},
		"relative debian path": {"type: upstream\n    urls: [https://example.org/linux-4.19.325.tar.xz]", "type: debian\n    package: linux-source-4.19\n    path: ../x.tar.xz",
			`mine.yaml:10:11: sources[0].path: "../x.tar.xz" is not one; write a clean absolute path`},
		"missing key file": {"config:", pgpYAML("missing.asc", "647F28654894E3BD457199BE38DBBDC86092693E") + "config:",
			"mine.yaml:13:16: sources[0].pgp.keyFile: cannot read missing.asc: no such file or directory; check the path, which is relative to this file"},
		"bad fingerprint": {"config:", pgpYAML("builtin:keys/linux-stable.asc", "6092693E") + "config:",
			`mine.yaml:14:22: sources[0].pgp.fingerprints[0]: "6092693E" is not valid; write 40 upper-case hex digits without blanks`},
		"key not in file": {"config:", pgpYAML("builtin:keys/linux-stable.asc", "ABAF11C65A2970B130ABE3C479BE3E4300411886") + "config:",
			"mine.yaml:14:22: sources[0].pgp.fingerprints[0]: builtin:keys/linux-stable.asc does not hold key ABAF11C65A2970B130ABE3C479BE3E4300411886; add the key to that file, or remove the fingerprint"},
		"no key in file": {"config:", pgpYAML("own.config", "ABAF11C65A2970B130ABE3C479BE3E4300411886") + "config:",
			"mine.yaml:13:16: sources[0].pgp.keyFile: own.config holds no armoured public keys: openpgp: invalid argument: no armored data found; export the keys with gpg --armor --export"},

		"bad base": {"config:\n", "config:\n  base: tinyconfig\n",
			`mine.yaml:12:9: config.base: "tinyconfig" is not known; write allnoconfig or defconfig`},
		"no fragment": {"config:\n  fragments: [own.config]\n", "",
			"mine.yaml:1:1: config.fragments: there is no fragment; name at least one fragment"},
		"missing fragment": {"fragments: [own.config]", "fragments: [own.config, kvm.config]",
			"mine.yaml:12:27: config.fragments[1]: cannot read fragment kvm.config: no such file or directory; check the path, which is relative to this file"},
		"missing built-in fragment": {"fragments: [own.config]", "fragments: ['builtin:fragments/../../etc']",
			"mine.yaml:12:15: config.fragments[0]: cannot read fragment builtin:fragments/../../etc: invalid argument; check the path, which is relative to this file"},
		"folder as fragment": {"fragments: [own.config]", "fragments: [.]",
			"mine.yaml:12:15: config.fragments[0]: cannot read fragment .: it is not a regular file; check the path, which is relative to this file"},
		"fragment twice": {"fragments: [own.config]", "fragments: [own.config, ./own.config]",
			"mine.yaml:12:27: config.fragments[1]: fragment own.config is listed twice; name it once"},
		"bad fragment line": {"fragments: [own.config]", "fragments: [bad.config]",
			`bad.config:2:1: "CONFIG_NET = y" is not a Kconfig line; write CONFIG_NAME=y, =m, a number or a "string", "# CONFIG_NAME is not set", or a comment on a line of its own`},
		"symbol twice": {"fragments: [own.config]", "fragments: [twice.config]",
			"twice.config:3:1: CONFIG_NET: the symbol is already set in line 1; keep one of them"},

		"sets without series": {"  series: mine\n", "",
			"mine.yaml:14:10: backports.sets: there is no series to choose from; add backports.series"},
		"gcc bounds swapped": {"maxGcc: 14", "maxGcc: 7",
			"mine.yaml:18:11: toolchain.maxGcc: it is below minGcc, which is 8; swap them"},
		"two flags in one": {"cflags: [-fno-pie]", "cflags: [-fno-pie -no-pie]",
			`mine.yaml:19:12: toolchain.cflags[0]: "-fno-pie -no-pie" is not valid; write one flag an item, beginning with '-' and without blanks`},
		"reserved make variable": {"V: 1", "ARCH: i386",
			"mine.yaml:21:11: toolchain.makeVars.ARCH: ARCH is set by the builder; use the profile's own fields (cc, cflags, kcflags, hostCflags, localVersion)"},
		"expanding make variable": {"V: 1", "V: $(shell id)",
			`mine.yaml:21:8: toolchain.makeVars.V: "$(shell id)" is not valid; use printable ASCII without '$', which make would expand`},
		"image outside the tree": {"minGcc: 8", "minGcc: 8\n  image: ../vmlinuz",
			`mine.yaml:18:10: toolchain.image: "../vmlinuz" leads out of the tree; write a path inside the kernel tree`},
		"two parameters in one": {"append: [console=ttyS0]", "append: [console=ttyS0 quiet]",
			`mine.yaml:23:12: guest.append[0]: "console=ttyS0 quiet" is not one kernel parameter; write one parameter an item, in printable ASCII`},
		"command line too long": {"append: [console=ttyS0]", "append: [quiet, x=" + strings.Repeat("y", 1100) + "]",
			"mine.yaml:23:19: guest.append[1]: the kernel parameters exceed 1024 bytes; shorten it"},
		"bad feature": {"features: [9p]", "features: [9P]",
			`mine.yaml:24:14: guest.features[0]: "9P" is not valid; use lower-case letters, digits and '-'`},
		"missing virtio": {"  virtio: transitional\n", "",
			"mine.yaml:1:1: machine.virtio: the field is missing; write legacy, transitional or modern"},
		"bad virtio": {"virtio: transitional", "virtio: old",
			`mine.yaml:26:11: machine.virtio: "old" is not known; write legacy or transitional or modern`},
		"bad machine": {"machine:\n", "machine:\n  type: microvm\n",
			`mine.yaml:26:9: machine.type: "microvm" is not known; write pc or q35`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(whole, c.old) {
				t.Fatalf("the case changes %q, which is not in the profile", c.old)
			}
			t.Chdir(writeFiles(t, map[string]string{
				"mine.yaml":    strings.Replace(whole, c.old, c.new, 1),
				"own.config":   "CONFIG_NET=y\n",
				"bad.config":   "# a comment\nCONFIG_NET = y\n",
				"twice.config": "CONFIG_NET=y\n\n# CONFIG_NET is not set\n",
			}))
			wantError(t, "mine.yaml", c.want)
		})
	}
}

// pgpYAML goes between the source and the next section of whole.
func pgpYAML(keyFile, fingerprint string) string {
	return "    pgp:\n      signatureUrls: [https://example.org/linux.sign]\n      keyFile: " + keyFile +
		"\n      fingerprints: [" + fingerprint + "]\n"
}

func TestWholeProfileLoads(t *testing.T) {
	t.Chdir(writeFiles(t, map[string]string{"mine.yaml": whole, "own.config": "CONFIG_NET=y\n"}))
	if _, err := Load("mine.yaml"); err != nil {
		t.Fatal(err)
	}
}

func TestExtendsError(t *testing.T) {
	long := map[string]string{}
	for i := range 20 {
		long["p"+string(rune('a'+i))+".yaml"] = "name: p\nextends: ./p" + string(rune('b'+i)) + ".yaml\n"
	}
	cases := map[string]struct {
		files map[string]string
		load  string
		want  string
	}{
		"unknown profile": {nil, "2.6.33",
			`unknown profile "2.6.33"; write one of 2.6.32, 3.10, 5.10, 6.1, debian-5.10, debian-6.1, legacy, or a path that ends in .yaml`},
		"missing file": {nil, "mine.yaml",
			"mine.yaml: cannot read the profile: no such file or directory; check the path"},
		"folder": {nil, "./",
			".: cannot read the profile: it is not a regular file; check the path"},
		"empty file": {map[string]string{"a.yaml": "# nothing\n"}, "a.yaml",
			"a.yaml:1:1: the file holds 0 YAML documents with content, want one; write one YAML document with the fields of a profile"},
		"extends unknown": {map[string]string{"a.yaml": "name: a\nextends: 2.6.31\n"}, "a.yaml",
			`a.yaml:2:10: extends: unknown profile "2.6.31"; write one of 2.6.32, 3.10, 5.10, 6.1, debian-5.10, debian-6.1, legacy, or a path that ends in .yaml`},
		"extends missing file": {map[string]string{"a.yaml": "name: a\nextends: b.yaml\n"}, "a.yaml",
			"a.yaml:2:10: extends: b.yaml: cannot read the profile: no such file or directory; check the path"},
		"error in the extended file": {map[string]string{"a.yaml": "name: a\nextends: b.yaml\n", "b.yaml": "nam: b\n"}, "a.yaml",
			"b.yaml:1:1: nam: no such field; write one of name, aliases, description, extends, kernel, sources, config, backports, toolchain, guest, machine"},
		"cycle of one": {map[string]string{"a.yaml": "name: a\nextends: ./a.yaml\n"}, "a.yaml",
			"a.yaml:2:10: extends: profiles extend each other in a circle: a.yaml extends a.yaml; remove one of these extends"},
		"cycle of two": {map[string]string{"a.yaml": "name: a\nextends: ./b.yaml\n", "b.yaml": "name: b\nextends: a.yaml\n"}, "./a.yaml",
			"b.yaml:2:10: extends: profiles extend each other in a circle: a.yaml extends b.yaml extends a.yaml; remove one of these extends"},
		"chain too long": {long, "pa.yaml",
			"pp.yaml:2:10: extends: more than 16 profiles extend each other; merge some of them into one file"},
		"file too large": {map[string]string{"a.yaml": strings.Repeat("#\n", maxFileSize)}, "a.yaml",
			"a.yaml: cannot read the profile: it is larger than 65536 bytes; check the path"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Chdir(writeFiles(t, c.files))
			wantError(t, c.load, c.want)
		})
	}
}

func TestSentinelErrors(t *testing.T) {
	if _, err := Load("nothing"); !errors.Is(err, ErrUnknownProfile) {
		t.Errorf("Load of an unknown name: %v, want ErrUnknownProfile", err)
	}
	t.Chdir(writeFiles(t, map[string]string{"a.yaml": "name: a\nextends: ./a.yaml\n"}))
	if _, err := Load("a.yaml"); !errors.Is(err, ErrCycle) {
		t.Errorf("Load of a profile that extends itself: %v, want ErrCycle", err)
	}
	if _, err := Load("b.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load of a missing file: %v, want fs.ErrNotExist", err)
	}
}

// Mistakes in the embedded tree cannot happen in a released program; these
// cases keep it so.
func TestBuiltinError(t *testing.T) {
	cases := map[string]struct {
		files map[string]string
		want  string
	}{
		"alias taken": {map[string]string{"a.yaml": "name: a\naliases: [old]\n", "b.yaml": "name: b\naliases: [old]\n"},
			`builtin:b.yaml:2:11: aliases: "old" already names profile a; choose another word`},
		"alias is another's name": {map[string]string{"a.yaml": "name: a\naliases: [b]\n", "b.yaml": "name: b\n"},
			`builtin:a.yaml:2:11: aliases: "b" already names profile b; choose another word`},
		"name is not the file's": {map[string]string{"a.yaml": "name: b\n"},
			`builtin:a.yaml:1:7: name: profile "b" stands in the file a.yaml; rename one of them`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for file, data := range c.files {
				tree[file] = &fstest.MapFile{Data: []byte(data)}
			}
			l, err := newLoader(files{builtin: tree})
			if err == nil {
				_, err = l.load("a")
			}
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func wantError(t *testing.T, nameOrFile, want string) {
	t.Helper()
	p, err := Load(nameOrFile)
	if err == nil {
		t.Fatalf("Load(%q) gave %+v, want the error %s", nameOrFile, p, want)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("Load(%q) gave a %T, want *Error", nameOrFile, err)
	}
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}
