package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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
