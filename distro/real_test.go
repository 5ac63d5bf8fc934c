package distro_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runv-legacy/runv-legacy/distro"
)

// debianKernel gives a real kernel package of Debian 12: the file named by
// RUNV_TEST_KERNEL_DEB, else apt's newest of the cloud flavour, downloaded
// once into the user's cache.
func debianKernel(t *testing.T) string {
	t.Helper()
	if file := os.Getenv("RUNV_TEST_KERNEL_DEB"); file != "" {
		return file
	}
	if testing.Short() {
		t.Skip("-short: no Debian kernel package is downloaded")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "runv-legacy", "test-packages")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const pattern = "linux-image-6.1.0-*-cloud-amd64-unsigned_*.deb"
	if have, _ := filepath.Glob(filepath.Join(dir, pattern)); len(have) > 0 {
		return have[0]
	}
	names, err := exec.Command("apt-cache", "pkgnames", "linux-image-6.1.0-").Output()
	if err != nil {
		t.Skipf("no apt-cache to find a Debian kernel package: %v; name one in RUNV_TEST_KERNEL_DEB", err)
	}
	var found []string
	for _, name := range strings.Fields(string(names)) {
		if strings.HasSuffix(name, "-cloud-amd64-unsigned") {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		t.Skip("apt knows no linux-image-6.1.0-*-cloud-amd64-unsigned; run apt-get update, or name a package in RUNV_TEST_KERNEL_DEB")
	}
	slices.Sort(found)
	cmd := exec.Command("apt-get", "download", found[len(found)-1])
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("cannot download %s: %v\n%s", found[len(found)-1], err, out)
	}
	have, _ := filepath.Glob(filepath.Join(dir, pattern))
	if len(have) == 0 {
		t.Fatal("apt-get download left no package")
	}
	return have[0]
}

// after fails unless every pair's second module comes before its first.
func after(t *testing.T, order []string, pairs ...[2]string) {
	t.Helper()
	for _, p := range pairs {
		later, earlier := slices.Index(order, p[0]), slices.Index(order, p[1])
		if earlier < 0 || later <= earlier {
			t.Errorf("%s does not come after %s in %q", p[0], p[1], order)
		}
	}
}

func checkDebian(t *testing.T, res *distro.Result) {
	t.Helper()
	if !strings.HasPrefix(res.Release, "6.1.0-") || !strings.Contains(res.Version, res.Release+" (debian-kernel@lists.debian.org) #1 SMP") {
		t.Errorf("release %q, version %q", res.Release, res.Version)
	}
	if !bytes.Contains(res.Config, []byte("\nCONFIG_VIRTIO=m\n")) || !bytes.Contains(res.SystemMap, []byte(" T init_module\n")) && len(res.SystemMap) == 0 {
		t.Errorf("config of %d bytes, System.map of %d", len(res.Config), len(res.SystemMap))
	}
	after(t, res.LoadOrder,
		[2]string{"virtio_pci", "virtio"}, [2]string{"virtio_pci", "virtio_ring"},
		[2]string{"virtio_pci", "virtio_pci_modern_dev"}, [2]string{"virtio_pci", "virtio_pci_legacy_dev"},
		[2]string{"virtio_blk", "virtio_pci"}, [2]string{"virtio_console", "virtio_pci"},
		[2]string{"virtio_net", "net_failover"}, [2]string{"net_failover", "failover"})
	for _, name := range []string{"virtio_rng", "virtio_balloon", "squashfs", "overlay", "isofs", "ext4", "af_packet"} {
		if !res.Has(name) {
			t.Errorf("no %s: %q, built in %q, missing %v", name, res.LoadOrder, res.BuiltIn, res.Missing)
		}
	}
	for _, m := range res.Modules {
		if !bytes.HasPrefix(m.Data, []byte("\x7fELF")) {
			t.Errorf("%s is not decompressed", m.Path)
		}
	}
}

// A package, the same kernel as an unpacked folder with compressed modules and
// depmod's files, and the same as an RPM package.
func TestImportDebianKernel(t *testing.T) {
	deb := debianKernel(t)
	dir := t.TempDir()
	shell(t, dir, "dpkg-deb -x \"$1\" root", deb)
	want, err := distro.Import(context.Background(), distro.Options{Deb: deb, TempDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	checkDebian(t, want)
	t.Logf("%s: load %q, built in %q, missing %v", want.Release, want.LoadOrder, want.BuiltIn, want.Missing)
	if left, _ := filepath.Glob(filepath.Join(dir, "runv-legacy-import-*")); len(left) > 0 {
		t.Errorf("the import left %q", left)
	}
	// What the test does not need costs only time.
	shell(t, dir, "rm -rf root/usr root/lib/modules/*/kernel/drivers/infiniband root/lib/modules/*/kernel/drivers/net/ethernet")
	t.Run("folder", func(t *testing.T) {
		shell(t, dir, "cp -r root folder && cd folder && depmod -b . \"$1\"", want.Release)
		shell(t, dir, "cd folder/lib/modules/*/kernel && xz -0 drivers/virtio/*.ko && gzip fs/isofs/*.ko && zstd -q --rm fs/squashfs/*.ko && sed -i 's/\\.ko\\b/.ko.xz/g' ../modules.dep")
		res, err := distro.Import(context.Background(), distro.Options{
			Kernel: filepath.Join(dir, "folder/boot/vmlinuz-"+want.Release), ModulesDir: filepath.Join(dir, "folder"),
		})
		if err != nil {
			t.Fatal(err)
		}
		checkDebian(t, res)
		checkSame(t, res, want)
	})
	t.Run("rpm", func(t *testing.T) {
		if _, err := exec.LookPath("rpmbuild"); err != nil {
			t.Skip("no rpmbuild (Debian package rpm)")
		}
		res, err := distro.Import(context.Background(), distro.Options{RPM: makeRPM(t, dir), TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		checkDebian(t, res)
		checkSame(t, res, want)
	})
	t.Run("modules of another release", func(t *testing.T) {
		shell(t, dir, "mkdir -p other/lib/modules && cp -r root/lib/modules/* other/lib/modules/9.9.9")
		_, err := distro.Import(context.Background(), distro.Options{
			Kernel: filepath.Join(dir, "root/boot/vmlinuz-"+want.Release), ModulesDir: filepath.Join(dir, "other"),
		})
		if !errors.Is(err, distro.ErrMismatch) {
			t.Errorf("got %v, want ErrMismatch", err)
		}
	})
	t.Run("no virtio_blk", func(t *testing.T) {
		shell(t, dir, "rm root/lib/modules/*/kernel/drivers/block/virtio_blk.ko")
		_, err := distro.Import(context.Background(), distro.Options{
			Kernel: filepath.Join(dir, "root/boot/vmlinuz-"+want.Release), ModulesDir: filepath.Join(dir, "root"),
		})
		if !errors.Is(err, distro.ErrUnusable) || !strings.Contains(err.Error(), "virtio_blk") {
			t.Errorf("got %v, want ErrUnusable and virtio_blk", err)
		}
	})
	t.Run("no modules folder", func(t *testing.T) {
		_, err := distro.Import(context.Background(), distro.Options{Kernel: filepath.Join(dir, "root/boot/vmlinuz-"+want.Release)})
		if !errors.Is(err, distro.ErrUnusable) || !strings.Contains(err.Error(), "virtio_pci") {
			t.Errorf("got %v, want ErrUnusable and virtio_pci, which the config beside it says is a module", err)
		}
	})
}

func checkSame(t *testing.T, got, want *distro.Result) {
	t.Helper()
	if !bytes.Equal(got.Kernel, want.Kernel) || !bytes.Equal(got.Config, want.Config) || !bytes.Equal(got.SystemMap, want.SystemMap) {
		t.Error("kernel, config or System.map differ")
	}
	if !slices.Equal(got.LoadOrder, want.LoadOrder) {
		t.Errorf("order %q\nwant  %q", got.LoadOrder, want.LoadOrder)
	}
	for i := range min(len(got.Modules), len(want.Modules)) {
		if got.Modules[i].Path != want.Modules[i].Path || !bytes.Equal(got.Modules[i].Data, want.Modules[i].Data) {
			t.Errorf("module %s differs from %s", got.Modules[i].Path, want.Modules[i].Path)
		}
	}
}

func makeRPM(t *testing.T, dir string) string {
	t.Helper()
	spec := `Name: kernel-test
Version: 1
Release: 1
Summary: test
License: GPL
BuildArch: x86_64
%description
test
%files
/boot
/lib
`
	if err := os.WriteFile(filepath.Join(dir, "k.spec"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	shell(t, dir, `cp -r root rpmroot && rpmbuild -bb --quiet --buildroot "$PWD/rpmroot" --define "_topdir $PWD/top" \
		--define "_rpmdir $PWD" --define "_binary_payload w3.zstdio" --define "__os_install_post %nil" \
		--define "_build_id_links none" --nodeps --define "__find_provides %nil" --define "__find_requires %nil" \
		--define "_use_internal_dependency_generator 0" k.spec >rpm.log 2>&1 || { tail rpm.log; exit 1; }`)
	found, _ := filepath.Glob(filepath.Join(dir, "x86_64", "*.rpm"))
	if len(found) != 1 {
		t.Fatalf("rpmbuild made %q", found)
	}
	return found[0]
}

func shell(t *testing.T, dir, script string, args ...string) {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-ec", script, "sh"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}
