package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/runv-legacy/runv-legacy/artifact/registrytest"
)

// quick makes retries fast.
func quick() RemoteOptions { return RemoteOptions{RetryWait: time.Millisecond, Referrers: true} }

func mustPush(t testing.TB, s *Store, ref, dest string, opts RemoteOptions) digest.Digest {
	t.Helper()
	d, err := s.Push(context.Background(), ref, dest, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pushed is a registry that has one image, and the store it came from.
func pushed(t testing.TB) (*registrytest.Memory, *Store, ocispec.Descriptor) {
	t.Helper()
	reg, s := registrytest.NewMemory(t), newStore(t)
	desc := mustAdd(t, s, testImage(), "kernels:x", fullOptions())
	mustPush(t, s, "kernels:x", reg.Addr+"/team/kernels:x", quick())
	reg.Requests()
	return reg, s, desc
}

// same compares all that two stores have under a name.
func same(t testing.TB, a *Store, refA string, b *Store, refB string) {
	t.Helper()
	var got [2]string
	for i, c := range []struct {
		s   *Store
		ref string
	}{{a, refA}, {b, refB}} {
		in, err := c.s.Inspect(context.Background(), c.ref)
		if err != nil {
			t.Fatal(err)
		}
		in.Name = ""
		for j := range in.Images {
			slices.SortFunc(in.Images[j].Referrers, func(x, y Referrer) int { return strings.Compare(x.Type, y.Type) })
		}
		data, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		got[i] = string(data)
	}
	if got[0] != got[1] {
		t.Errorf("the images differ:\n%s\n%s", got[0], got[1])
	}
}

func TestPushPull(t *testing.T) {
	for _, api := range []bool{true, false} {
		t.Run(fmt.Sprintf("referrers API %v", api), func(t *testing.T) {
			ctx := context.Background()
			reg, a := registrytest.NewMemory(t), newStore(t)
			reg.Referrers = api
			desc := mustAdd(t, a, testImage(), "kernels:x", fullOptions())
			dest := reg.Addr + "/team/kernels:x"
			mustPush(t, a, "kernels:x", dest, quick())
			b := newStore(t)
			var events []Event
			got, err := b.Pull(ctx, dest, quick(), func(e Event) { events = append(events, e) })
			if err != nil || got != desc.Digest {
				t.Fatalf("Pull = %s, %v, want %s", got, err, desc.Digest)
			}
			same(t, a, "kernels:x", b, dest)
			mustVerify(t, b)
			done := map[string]int64{}
			for _, e := range events {
				if e.Kind == EventDone {
					done[e.Title] = e.Done
				}
			}
			if events[0].Kind != EventPlan || done[TitleKernel] != 300<<10 || done[TitleInitrd] != 200<<10 {
				t.Errorf("events began with %+v and finished %v", events[0], done)
			}
			again, err := b.Pull(ctx, dest, quick(), nil)
			if err != nil || again != got {
				t.Errorf("second Pull = %s, %v", again, err)
			}
		})
	}
}

func TestPullSkipsPresentAndPushSkipsPresent(t *testing.T) {
	reg, a, _ := pushed(t)
	dest := reg.Addr + "/team/kernels:x"
	mustPush(t, a, "kernels:x", dest, quick())
	for _, r := range reg.Requests() {
		if strings.Contains(r, "/blobs/uploads/") {
			t.Errorf("a second push sent a blob: %s", r)
		}
	}
	if _, err := a.Pull(context.Background(), dest, quick(), nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range reg.Requests() {
		if strings.HasPrefix(r, "GET") && strings.Contains(r, "/blobs/") {
			t.Errorf("a pull got a blob that was there: %s", r)
		}
	}
}

func TestPushMountsFromPulledRepository(t *testing.T) {
	reg, _, _ := pushed(t)
	b := newStore(t)
	if _, err := b.Pull(context.Background(), reg.Addr+"/team/kernels:x", quick(), nil); err != nil {
		t.Fatal(err)
	}
	reg.Requests()
	var mu sync.Mutex
	mounted := 0
	_, err := b.Push(context.Background(), reg.Addr+"/team/kernels:x", reg.Addr+"/other/kernels:y", quick(), func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == EventMounted {
			mounted++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if mounted != 5 {
		t.Errorf("%d blobs were mounted, want the config and 4 layers", mounted)
	}
	c := newStore(t)
	if _, err := c.Pull(context.Background(), reg.Addr+"/other/kernels:y", quick(), nil); err != nil {
		t.Fatal(err)
	}
}

// cut serves a blob's bytes only up to a length and then breaks the connection.
func cut(w http.ResponseWriter, data []byte, from, to int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(data)-from))
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		w.WriteHeader(http.StatusPartialContent)
	}
	w.Write(data[from:to])
	panic(http.ErrAbortHandler)
}

func TestPullContinuesAfterCuts(t *testing.T) {
	reg, a, desc := pushed(t)
	in, err := a.Inspect(context.Background(), "kernels:x")
	if err != nil {
		t.Fatal(err)
	}
	kernel := in.Images[0].Layers[0].Digest
	data := reg.Blob("team/kernels", kernel)
	dest := reg.Addr + "/team/kernels:x"
	isKernel := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, kernel.String())
	}

	t.Run("within one pull", func(t *testing.T) {
		cuts := 0
		reg.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if !isKernel(r) || cuts == 3 {
				return false
			}
			cuts++
			var from int
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			cut(w, data, from, from+50<<10)
			return true
		})
		b := newStore(t)
		if got, err := b.Pull(context.Background(), dest, quick(), nil); err != nil || got != desc.Digest {
			t.Fatalf("Pull = %s, %v", got, err)
		}
		mustVerify(t, b)
		var ranges []string
		for _, r := range reg.Requests() {
			if strings.Contains(r, kernel.String()) {
				_, rng, _ := strings.Cut(r, kernel.String())
				ranges = append(ranges, strings.TrimSpace(rng))
			}
		}
		if len(ranges) != 4 || ranges[0] != "" || slices.ContainsFunc(ranges[1:], func(r string) bool { return !strings.HasPrefix(r, "bytes=") }) {
			t.Errorf("the kernel was requested with ranges %q, want three continuations", ranges)
		}
	})

	t.Run("by a later process", func(t *testing.T) {
		reg.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if isKernel(r) {
				cut(w, data, 0, 100<<10)
			}
			return false
		})
		opts := quick()
		opts.Retries = -1
		b := newStore(t)
		if _, err := b.Pull(context.Background(), dest, opts, nil); err == nil {
			t.Fatal("Pull worked over a cut connection without retries")
		}
		if rows, err := b.List(context.Background()); err != nil || len(rows) != 0 {
			t.Errorf("List = %v, %v after a broken pull, want nothing", rows, err)
		}
		reg.Intercept(nil)
		reg.Requests()
		later, err := OpenStore(b.Dir())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := later.Pull(context.Background(), dest, opts, nil); err != nil {
			t.Fatal(err)
		}
		mustVerify(t, later)
		want := fmt.Sprintf("%s bytes=%d-", kernel, 100<<10)
		if reqs := strings.Join(reg.Requests(), "\n"); !strings.Contains(reqs, want) {
			t.Errorf("the second pull did not continue at 100 KiB:\n%s", reqs)
		}
	})

	t.Run("what was left is damaged", func(t *testing.T) {
		b := newStore(t)
		if err := b.prepare(context.Background()); err != nil {
			t.Fatal(err)
		}
		part := filepath.Join(b.blobs.ingestDir(), strings.Replace(kernel.String(), ":", "-", 1)+partSuffix)
		if err := os.WriteFile(part, noise(99, 64<<10), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Pull(context.Background(), dest, quick(), nil); err != nil {
			t.Fatal(err)
		}
		mustVerify(t, b)
	})

	t.Run("the registry knows no ranges", func(t *testing.T) {
		first := true
		reg.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if !isKernel(r) {
				return false
			}
			if first {
				first = false
				cut(w, data, 0, 100<<10)
			}
			w.Write(data)
			return true
		})
		defer reg.Intercept(nil)
		b := newStore(t)
		if _, err := b.Pull(context.Background(), dest, quick(), nil); err != nil {
			t.Fatal(err)
		}
		mustVerify(t, b)
	})

	t.Run("a connection that stands still", func(t *testing.T) {
		first := atomic.Bool{}
		first.Store(true)
		reg.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if !isKernel(r) || !first.CompareAndSwap(true, false) {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Write(data[:1000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		})
		defer reg.Intercept(nil)
		opts := quick()
		opts.Stall = 200 * time.Millisecond
		b := newStore(t)
		if _, err := b.Pull(context.Background(), dest, opts, nil); err != nil {
			t.Fatal(err)
		}
		mustVerify(t, b)
	})
}

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

func TestPullMendsADamagedBlob(t *testing.T) {
	reg, a, _ := pushed(t)
	r, err := a.Resolve(context.Background(), "kernels:x")
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, blobPath(t, a, r.Layers[0].Digest), noise(4, int(r.Layers[0].Size)))
	if _, err := a.Push(context.Background(), "kernels:x", reg.Addr+"/fresh/repo:x", quick(), nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Push of a damaged blob = %v, want ErrCorrupt", err)
	}
	if _, err := a.Pull(context.Background(), reg.Addr+"/team/kernels:x", quick(), nil); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, a)
}

func TestConcurrentPulls(t *testing.T) {
	reg, _, desc := pushed(t)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := OpenStore(dir)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := s.Pull(context.Background(), reg.Addr+"/team/kernels:x", quick(), nil); err != nil || got != desc.Digest {
				t.Errorf("Pull = %s, %v", got, err)
			}
		})
	}
	wg.Wait()
	got := map[string]int{}
	for _, r := range reg.Requests() {
		if strings.HasPrefix(r, "GET") && strings.Contains(r, "/blobs/") {
			got[r]++
		}
	}
	for r, n := range got {
		if n != 1 {
			t.Errorf("%d times: %s", n, r)
		}
	}
}

func TestTransportSecurity(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true, "[::ffff:127.0.0.1]:1": true,
		"registry.example": false, "10.0.0.1:5000": false, "localhost.example:80": false, "127.0.0.1.example": false, "[2001:db8::1]:5000": false,
	} {
		if got := isLoopback(host); got != want {
			t.Errorf("isLoopback(%q) = %v", host, got)
		}
		ref, _, err := parseRemote(host + "/k:x")
		if err != nil {
			t.Errorf("parseRemote(%q): %v", host, err)
			continue
		}
		p, err := newPeer(ref, RemoteOptions{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if p.repo.PlainHTTP != want {
			t.Errorf("%s: plain HTTP %v, want %v", host, p.repo.PlainHTTP, want)
		}
	}
	// Off loopback a server that speaks plain HTTP is refused. The name is made
	// up; the dialer leads it to a local server.
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }))
	defer plain.Close()
	opts := quick()
	opts.Transport = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, plain.Listener.Addr().String())
	}}
	_, err := newStore(t).Pull(context.Background(), "registry.example/k:x", opts, nil)
	if !errors.Is(err, ErrPlainHTTP) {
		t.Errorf("Pull over plain HTTP = %v, want ErrPlainHTTP", err)
	}
	opts.PlainHTTP = true
	if _, err := newStore(t).Pull(context.Background(), "registry.example/k:x", opts, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("Pull with PlainHTTP = %v, want the server's 404", err)
	}
}

func TestDockerCredentials(t *testing.T) {
	ctx := context.Background()
	reg, _, desc := pushed(t)
	reg.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if user, pass, ok := r.BasicAuth(); ok && user == "me" && pass == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	dest := reg.Addr + "/team/kernels:x"
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := newStore(t).Pull(ctx, dest, quick(), nil)
	if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "docker login "+reg.Addr) {
		t.Errorf("Pull without credentials = %v, want ErrDenied with the mend", err)
	}
	write(fmt.Sprintf(`{"auths":{%q:{"auth":"bWU6d3Jvbmc="}}}`, reg.Addr)) // me:wrong
	if _, err := newStore(t).Pull(ctx, dest, quick(), nil); !errors.Is(err, ErrDenied) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("Pull with a wrong password = %v, want ErrDenied without the password", err)
	}
	write(fmt.Sprintf(`{"auths":{%q:{"auth":"bWU6c2VjcmV0"}}}`, reg.Addr)) // me:secret
	if got, err := newStore(t).Pull(ctx, dest, quick(), nil); err != nil || got != desc.Digest {
		t.Errorf("Pull with credentials = %s, %v", got, err)
	}
	write("{")
	if _, err := newStore(t).Pull(ctx, dest, quick(), nil); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("Pull with a broken config.json = %v", err)
	}
}
