package artifact

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/runv-legacy/runv-legacy/artifact/registrytest"
)

func TestRealRegistry(t *testing.T) {
	addr := registrytest.Start(t)
	ctx := context.Background()
	a := newStore(t)
	desc := mustAdd(t, a, testImage(), "kernels:2.6.32", fullOptions())
	arm := testImage()
	arm.Guest.Architecture = "arm64"
	mustAdd(t, a, arm, "kernels:2.6.32", fullOptions())
	dest := addr + "/team/kernels:2.6.32"
	root := mustPush(t, a, "kernels:2.6.32", dest, quick())

	opts := quick()
	opts.AllPlatforms = true
	b := newStore(t)
	if got, err := b.Pull(ctx, dest, opts, nil); err != nil || got != root {
		t.Fatalf("Pull = %s, %v, want %s", got, err, root)
	}
	same(t, a, "kernels:2.6.32", b, dest)
	mustVerify(t, b)

	c := newStore(t)
	if got, err := c.Pull(ctx, dest, RemoteOptions{}, nil); err != nil || got != desc.Digest {
		t.Fatalf("Pull of one platform = %s, %v, want %s", got, err, desc.Digest)
	}
	mustPush(t, a, "kernels:2.6.32", dest, quick()) // again: nothing to send
	if _, err := c.Push(ctx, desc.Digest.String(), addr+"/mirror/kernels:amd64", RemoteOptions{}, nil); err != nil {
		t.Errorf("push into another repository: %v", err)
	}
	skopeo(t, dest, root, desc.Digest, c)
}

// skopeo shows that a program that knows nothing of the format can copy it.
func skopeo(t *testing.T, dest string, root, manifest digest.Digest, c *Store) {
	t.Helper()
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Log("skopeo is not installed (apt-get install skopeo): not tested with it")
		return
	}
	raw, err := exec.Command("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+dest).Output()
	if err != nil {
		t.Fatalf("skopeo inspect: %v", err)
	}
	if digest.FromBytes(raw) != root {
		t.Errorf("skopeo reads an index %s, want %s", digest.FromBytes(raw), root)
	}
	dir := filepath.Join(t.TempDir(), "copy")
	out, err := exec.Command("skopeo", "copy", "--all", "--src-tls-verify=false", "--insecure-policy", "docker://"+dest, "oci:"+dir+":kernels:copied").CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy: %v\n%s", err, out)
	}
	copied, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := copied.Resolve(context.Background(), "kernels:copied")
	if err != nil || r.Manifest.Digest != manifest || r.Index.Digest != root {
		t.Errorf("skopeo's copy has index %v and manifest %s, %v, want %s and %s", r.Index, r.Manifest.Digest, err, root, manifest)

	}
	mustVerify(t, copied)
	// And our folder is a layout that skopeo reads.
	out, err = exec.Command("skopeo", "inspect", "--raw", "oci:"+c.Dir()+":"+dest).Output()
	if err != nil || digest.FromBytes(out) != root {
		t.Errorf("skopeo reads our store as %s, %v", digest.FromBytes(out), err)
	}
}
