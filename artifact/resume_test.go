package artifact

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

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
