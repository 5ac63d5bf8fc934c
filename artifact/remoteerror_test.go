package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/runv-legacy/runv-legacy/artifact/registrytest"
)

func TestPullOfWrongBytes(t *testing.T) {
	ctx := context.Background()
	reg, a, _ := pushed(t)
	in, err := a.Inspect(ctx, "kernels:x")
	if err != nil {
		t.Fatal(err)
	}
	dest := reg.Addr + "/team/kernels:x"
	image := in.Images[0]
	size := int(image.Layers[0].Size)
	for name, c := range map[string]struct {
		blob digest.Digest
		set  func()
	}{
		"other bytes": {image.Layers[0].Digest, func() { reg.SetBlob("team/kernels", image.Layers[0].Digest, noise(55, size)) }},
		"too many":    {image.Layers[1].Digest, func() { reg.SetBlob("team/kernels", image.Layers[1].Digest, noise(55, 1<<20)) }},
		"wrong config": {image.Config.Digest, func() {
			reg.SetBlob("team/kernels", image.Config.Digest, bytes.Repeat([]byte(" "), int(image.Config.Size)))
		}},
		"wrong manifest": {image.Manifest.Digest, func() {
			reg.SetManifest("team/kernels", image.Manifest.Digest.String(), ocispec.MediaTypeImageManifest, bytes.Repeat([]byte(" "), int(image.Manifest.Size)))
		}},
		"wrong SBOM blob": {image.Referrers[0].Layers[0].Digest, func() {
			reg.SetBlob("team/kernels", image.Referrers[0].Layers[0].Digest, noise(5, int(image.Referrers[0].Layers[0].Size)))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			blob := reg.Blob("team/kernels", c.blob)
			c.set()
			b := newStore(t)
			_, err := b.Pull(ctx, dest, quick(), nil)
			var de *DigestError
			if !errors.As(err, &de) || de.Blob != c.blob || !strings.Contains(err.Error(), reg.Addr+"/team/kernels") {
				t.Errorf("Pull = %v, want a *DigestError with blob %s and the registry", err, c.blob)
			}
			if rows, err := b.List(ctx); err != nil || len(rows) != 0 {
				t.Errorf("List = %v, %v, want nothing", rows, err)
			}
			if b.blobs.has(c.blob) {
				t.Error("the wrong bytes are in the store under that digest")
			}
			if blob != nil {
				reg.SetBlob("team/kernels", c.blob, blob)
				return
			}
			mustPush(t, a, "kernels:x", dest, quick())
		})
	}
}

func TestRemoteErrors(t *testing.T) {
	ctx := context.Background()
	reg, a, desc := pushed(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	pull := func(ref string, opts RemoteOptions) error {
		_, err := newStore(t).Pull(ctx, ref, opts, nil)
		return err
	}
	t.Run("unreachable", func(t *testing.T) {
		start := time.Now()
		err := pull(nobody+"/team/kernels:x", RemoteOptions{})
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), nobody) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Pull = %v, want one line with ErrUnreachable", err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %v: a refused connection is not worth retrying", d)
		}
		if _, err := a.Push(ctx, "kernels:x", nobody+"/k:x", RemoteOptions{}, nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("Push = %v, want ErrUnreachable", err)
		}
	})
	t.Run("no such tag", func(t *testing.T) {
		if err := pull(reg.Addr+"/team/kernels:nope", quick()); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "team/kernels:nope") {
			t.Errorf("Pull = %v, want ErrNotFound", err)
		}
	})
	t.Run("references", func(t *testing.T) {
		for _, ref := range []string{"kernels:x", "team/kernels:x", "", "host.example/UPPER:x", "host.example/k@sha256:12"} {
			if err := pull(ref, quick()); !errors.Is(err, ErrInvalidReference) {
				t.Errorf("Pull(%q) = %v, want ErrInvalidReference", ref, err)
			}
		}
		if _, err := a.Push(ctx, "kernels:x", reg.Addr+"/k@"+desc.Digest.String(), quick(), nil); !errors.Is(err, ErrInvalidReference) {
			t.Errorf("Push to a digest = %v, want ErrInvalidReference", err)
		}
		if _, err := a.Push(ctx, "kernels:nope", reg.Addr+"/k:x", quick(), nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("Push of nothing = %v, want ErrNotFound", err)
		}
	})
	t.Run("busy for a while", func(t *testing.T) {
		var mu sync.Mutex
		failed := map[string]int{}
		reg.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			key := r.Method + r.URL.RequestURI()
			if failed[key]++; failed[key] > 2 {
				return false
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		defer reg.Intercept(nil)
		if err := pull(reg.Addr+"/team/kernels:x", quick()); err != nil {
			t.Errorf("Pull = %v, want two 503 of each request survived", err)
		}
		img := testImage()
		img.Kernel = Bytes(noise(31, 1000))
		mustAdd(t, a, img, "kernels:busy", AddOptions{})
		if _, err := a.Push(ctx, "kernels:busy", reg.Addr+"/team/kernels:busy", quick(), nil); err != nil {
			t.Errorf("Push = %v, want two 503 of each request survived", err)
		}
	})
	t.Run("broken for good", func(t *testing.T) {
		reg.Intercept(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(500); return true })
		defer reg.Intercept(nil)
		if err := pull(reg.Addr+"/team/kernels:x", quick()); !errors.Is(err, ErrRegistry) || !strings.Contains(err.Error(), "500") {
			t.Errorf("Pull = %v, want ErrRegistry with the status", err)
		}
	})
	t.Run("not a guest image", func(t *testing.T) {
		m, _ := guestParts(t, testGuest())
		m.ArtifactType = "application/vnd.example.other"
		data, _ := json.Marshal(m)
		reg.SetManifest("team/other", "x", ocispec.MediaTypeImageManifest, data)
		reg.SetManifest("team/other", digest.FromBytes(data).String(), ocispec.MediaTypeImageManifest, data)
		if err := pull(reg.Addr+"/team/other:x", quick()); !errors.Is(err, ErrNotGuest) || !strings.Contains(err.Error(), "vnd.example.other") {
			t.Errorf("Pull = %v, want ErrNotGuest", err)
		}
	})
	t.Run("another architecture", func(t *testing.T) {
		arm := testImage()
		arm.Guest.Architecture = "arm64"
		d := mustAdd(t, a, arm, "kernels:arm", AddOptions{})
		mustPush(t, a, "kernels:arm", reg.Addr+"/team/kernels:arm", quick())
		for _, ref := range []string{":arm", "@" + d.Digest.String()} {
			reg.Requests()
			if err := pull(reg.Addr+"/team/kernels"+ref, quick()); !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), "linux/arm64") {
				t.Errorf("Pull of %s = %v, want ErrPlatform that names linux/arm64", ref, err)
			}
			for _, r := range reg.Requests() {
				if strings.Contains(r, digest.FromBytes(arm.Kernel.Data).String()) {
					t.Errorf("the kernel was transferred before the platform was checked: %s", r)
				}
			}
		}
		opts := quick()
		opts.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64"}
		if err := pull(reg.Addr+"/team/kernels:arm", opts); err != nil {
			t.Errorf("Pull for arm64 = %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		b := newStore(t)
		_, err := b.Pull(ctx, reg.Addr+"/team/kernels:x", quick(), func(e Event) {
			if e.Kind == EventBytes {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Pull = %v, want context.Canceled", err)
		}
		if rows, err := b.List(context.Background()); err != nil || len(rows) != 0 {
			t.Errorf("List = %v, %v, want nothing", rows, err)
		}
	})
}

func TestPlatformsOfAnIndex(t *testing.T) {
	ctx := context.Background()
	reg, a := registrytest.NewMemory(t), newStore(t)
	mustAdd(t, a, testImage(), "kernels:x", AddOptions{})
	arm := testImage()
	arm.Guest.Architecture, arm.Kernel = "arm64", Bytes(noise(8, 1000))
	mustAdd(t, a, arm, "kernels:x", AddOptions{})
	dest := reg.Addr + "/team/kernels:x"
	root := mustPush(t, a, "kernels:x", dest, quick())

	b := newStore(t)
	if _, err := b.Pull(ctx, dest, quick(), nil); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, b) // the platform that was not pulled is no damage
	if rows, err := b.List(ctx); err != nil || len(rows) != 1 || rows[0].Architecture != "amd64" {
		t.Errorf("List = %+v, %v, want amd64 only", rows, err)
	}
	if _, err := b.Push(ctx, dest, reg.Addr+"/else/where:x", quick(), nil); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "linux/arm64") {
		t.Errorf("Push of a part = %v, want ErrIncomplete that names linux/arm64", err)
	}
	r, err := b.Resolve(ctx, dest)
	if err != nil {
		t.Fatal(err)
	}
	mustPush(t, b, r.Manifest.Digest.String(), reg.Addr+"/else/where:amd64", quick())

	opts := quick()
	opts.AllPlatforms, opts.As = true, "mine:x"
	c := newStore(t)
	if got, err := c.Pull(ctx, dest, opts, nil); err != nil || got != root {
		t.Errorf("Pull of all platforms = %s, %v, want %s", got, err, root)
	}
	same(t, a, "kernels:x", c, "mine:x")
}

func TestPullByDigest(t *testing.T) {
	ctx := context.Background()
	reg, _, desc := pushed(t)
	b := newStore(t)
	ref := reg.Addr + "/team/kernels@" + desc.Digest.String()
	if got, err := b.Pull(ctx, ref, quick(), nil); err != nil || got != desc.Digest {
		t.Fatalf("Pull = %s, %v", got, err)
	}
	for _, r := range []string{ref, desc.Digest.String(), desc.Digest.Encoded()[:9]} {
		if _, err := b.Files(ctx, r); err != nil {
			t.Errorf("Files(%s) = %v", r, err)
		}
	}
	if _, err := b.Remove(ctx, ref); err != nil {
		t.Error(err)
	}
}
