// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// debianKernel fetches the package of the kernel that Debian makes for clouds,
// the smallest that it has. Its version moves, so apt is asked for it.
func debianKernel(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("apt-cache", "depends", "--important", "linux-image-cloud-amd64").CombinedOutput()
	name := regexp.MustCompile(`linux-image-[0-9][^ \n]*-cloud-amd64`).FindString(string(out))
	if err != nil || name == "" {
		t.Skipf("apt does not know linux-image-cloud-amd64 (apt-get update?): %v: %s", err, out)
	}
	dir := t.TempDir()
	get := exec.Command("apt-get", "download", name)
	get.Dir = dir
	if out, err := get.CombinedOutput(); err != nil {
		t.Skipf("apt-get download %s: %v: %s", name, err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("apt-get download %s left %q: %v", name, found, err)
	}
	return found[0]
}

func TestADistributionsKernelIsImportedAndBoots(t *testing.T) {
	if os.Getenv("RUNV_TEST_IMPORT") == "" {
		t.Skip("skipped: downloads a distribution kernel; set RUNV_TEST_IMPORT=1 to run it")
	}
	deb := debianKernel(t)
	kbuild(t, "import", "--deb", deb, "--tag", "kernels:debian-cloud").must(t)
	r := kbuild(t, "boot", "kernels:debian-cloud", "--", "uname", "-r").must(t)
	if got := strings.TrimSpace(r.stdout); !strings.HasSuffix(got, "-cloud-amd64") {
		t.Errorf("uname -r: %q", got)
	}
	r = kbuild(t, "boot", "kernels:debian-cloud", "--rootfs", staticRoot(t), "--", "/bin/hello", "modules").must(t)
	if r.stdout != "hello modules\n" {
		t.Errorf("stdout %q", r.stdout)
	}

	// The same kernel as files, as it lies under /boot and /lib/modules.
	root := t.TempDir()
	if out, err := exec.Command("dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v: %s", err, out)
	}
	kernel, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(kernel) != 1 {
		t.Fatalf("kernels in the package: %q, %v", kernel, err)
	}
	kbuild(t, "import", "--kernel", kernel[0], "--modules", filepath.Join(root, "lib", "modules"), "--tag", "kernels:files").must(t)
	kbuild(t, "boot", "kernels:files", "--", "true").must(t)
}

func TestImportRefusesWhatIsNoKernel(t *testing.T) {
	for _, args := range [][]string{
		{"--kernel", "/etc/hostname"},
		{"--deb", "/etc/hostname"},
		{"--rpm", "/etc/hostname"},
	} {
		r := kbuild(t, append([]string{"import", "--tag", "kernels:none"}, args...)...)
		if r.code == 0 || !strings.Contains(r.stderr, "/etc/hostname") {
			t.Errorf("%q: %v\nwant a failure that names the file", args, r)
		}
	}
}
