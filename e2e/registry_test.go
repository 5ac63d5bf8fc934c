// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/runv-legacy/runv-legacy/artifact/registrytest"
)

func TestImagesTravelThroughARegistryUnchanged(t *testing.T) {
	onEachKernel(t, func(t *testing.T, k guestKernel) {
		ref := k.image(t)
		registry := registrytest.Start(t)
		dest := registry + "/test/kernels:" + k.profile
		pushed := strings.TrimSpace(kbuild(t, "push", ref, dest).must(t).stdout)

		other := []string{"RUNV_LEGACY_STORE=" + t.TempDir() + "/store"}
		pulled := strings.TrimSpace(command{args: []string{"pull", "--with-attachments", dest}, env: other}.run(t).must(t).stdout)
		if pushed != pulled || !strings.HasPrefix(pushed, "sha256:") {
			t.Fatalf("pushed %s, pulled %s", pushed, pulled)
		}
		command{args: []string{"verify", dest}, env: other}.run(t).must(t)
		r := command{args: []string{"boot", dest, "--", "uname", "-r"}, env: other}.run(t).must(t)
		if !strings.HasPrefix(r.stdout, k.version) {
			t.Errorf("the pulled image runs Linux %q, want %s", r.stdout, k.version)
		}
		inspected := command{args: []string{"inspect", "--json", dest}, env: other}.run(t).must(t).stdout
		for _, want := range []string{"application/spdx+json", "application/vnd.runv-legacy.guest.source.v1"} {
			if !strings.Contains(inspected, want) {
				t.Errorf("nothing of type %s is attached to the pulled image", want)
			}
		}
	})
}

// The one-argument form of the README.
func TestPushFindsTheImageByTheTagOfItsDestination(t *testing.T) {
	k := debian6
	k.image(t)
	dest := registrytest.Start(t) + "/kernels:" + k.profile
	kbuild(t, "push", dest).must(t)
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo is not installed; install Debian's skopeo")
	}
	out, err := exec.Command("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+dest).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "application/vnd.oci.image.index.v1+json") {
		t.Errorf("skopeo inspect: %v\n%s", err, out)
	}
}
