// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// mirror serves files the way a test wants and remembers what it was asked.
type mirror struct {
	*httptest.Server
	mu     sync.Mutex
	ranges []string
}

func newMirror(t testing.TB, serve func(n int, w http.ResponseWriter, r *http.Request)) *mirror {
	m := &mirror{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.ranges = append(m.ranges, r.Header.Get("Range"))
		n := len(m.ranges)
		m.mu.Unlock()
		serve(n, w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *mirror) asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.ranges...)
}

// whole serves data with ranges.
func whole(data []byte) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

// cutAt serves the first n bytes of data and then breaks the connection.
func cutAt(data []byte, n int) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func refuse(code int) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func kernelXZ(t testing.TB) []byte { return compressed(t, ".xz", makeTar(t, smallKernel)) }

func TestDownload(t *testing.T) {
	data := kernelXZ(t)
	m := newMirror(t, whole(data))
	c := emptyCache(t)
	spec := pinned(data, m.URL+"/pub/linux-2.6.32.71.tar.xz")
	var bytesDone int64
	s, err := c.FetchSource(t.Context(), spec, "", func(e Event) {
		if e.Stage == StageFetch && e.State == Finished {
			bytesDone = e.Done
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Verification != VerifiedSHA256 || s.Origin != spec.Candidates[0].URLs[0] || s.Version != "2.6.32.71" || !strings.HasSuffix(s.Path, "linux-2.6.32.71.tar.xz") {
		t.Errorf("source is %+v", s)
	}
	if bytesDone != int64(len(data)) {
		t.Errorf("%d bytes were reported, want %d", bytesDone, len(data))
	}
	var cached, digested bool
	again, err := c.FetchSource(t.Context(), spec, "", func(e Event) {
		cached = cached || e.Stage == StageFetch && e.State == Cached
		digested = digested || e.Stage == StageVerify
	})
	if err != nil || again != s || !cached || digested || len(m.asked()) != 1 {
		t.Errorf("again: %+v, %v, cached %v, digested %v, %d requests", again, err, cached, digested, len(m.asked()))
	}
}

func TestDownloadResumes(t *testing.T) {
	data := kernelXZ(t)
	t.Run("within a run", func(t *testing.T) {
		m := newMirror(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				cutAt(data, 100)(n, w, r)
			}
			whole(data)(n, w, r)
		})
		if _, err := emptyCache(t).FetchSource(t.Context(), pinned(data, m.URL+"/l.tar.xz"), "", nil); err != nil {
			t.Fatal(err)
		}
		if got := m.asked(); len(got) != 2 || got[1] != "bytes=100-" {
			t.Errorf("ranges asked for: %q", got)
		}
	})
	t.Run("in a later run", func(t *testing.T) {
		c := emptyCache(t)
		broken := newMirror(t, cutAt(data, 100))
		_, err := c.FetchSource(t.Context(), pinned(data, broken.URL+"/l.tar.xz"), "", nil)
		wantKind(t, err, SourceUnavailable, "the connection broke")
		if c.visible(t) != 0 {
			t.Error("a part of a file is visible")
		}
		good := newMirror(t, whole(data))
		if _, err := c.FetchSource(t.Context(), pinned(data, good.URL+"/l.tar.xz"), "", nil); err != nil {
			t.Fatal(err)
		}
		if got := good.asked(); len(got) != 1 || got[0] != "bytes=100-" {
			t.Errorf("ranges asked for: %q", got)
		}
	})
	for name, kept := range map[string][]byte{
		"a kept part that is wrong":     bytes.Repeat([]byte("x"), 100),
		"a kept part that is too long":  append(append([]byte{}, data...), "xyz"...),
		"a kept part that is all there": data,
	} {
		t.Run(name, func(t *testing.T) {
			c := emptyCache(t)
			put(t, c.path(sourcesDir, digestOf(data)+".part"), kept)
			m := newMirror(t, whole(data))
			if _, err := c.FetchSource(t.Context(), pinned(data, m.URL+"/l.tar.xz"), "", nil); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("a server without ranges", func(t *testing.T) {
		c := emptyCache(t)
		put(t, c.path(sourcesDir, digestOf(data)+".part"), data[:100])
		m := newMirror(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
		if _, err := c.FetchSource(t.Context(), pinned(data, m.URL+"/l.tar.xz"), "", nil); err != nil {
			t.Fatal(err)
		}
	})
}

// visible counts the sources that a later run could take for whole.
func (c *Cache) visible(t testing.TB) int {
	t.Helper()
	files, err := filepath.Glob(c.path(sourcesDir, "*-*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestDownloadFailures(t *testing.T) {
	data := kernelXZ(t)
	gone := newMirror(t, refuse(http.StatusNotFound))
	wrong := newMirror(t, whole([]byte("<html>Not what you wanted</html>")))
	short := newMirror(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data[:len(data)/2]) })
	good := newMirror(t, whole(data))
	dead := httptest.NewServer(nil)
	dead.Close()

	t.Run("the next mirror is tried", func(t *testing.T) {
		spec := pinned(data, gone.URL+"/a", dead.URL+"/b", wrong.URL+"/c", short.URL+"/d", good.URL+"/e.tar.xz")
		s, err := emptyCache(t).FetchSource(t.Context(), spec, "", nil)
		if err != nil || s.Verification != VerifiedSHA256 {
			t.Errorf("source is %+v, %v", s, err)
		}
		if s.Origin != gone.URL+"/a" {
			t.Errorf("the origin depends on the mirror that happened to work: %s", s.Origin)
		}
	})
	t.Run("all are named when none works", func(t *testing.T) {
		c := emptyCache(t)
		_, err := c.FetchSource(t.Context(), pinned(data, gone.URL+"/a", dead.URL+"/b", wrong.URL+"/c", short.URL+"/d"), "", nil)
		wantKind(t, err, SourceUnavailable,
			gone.URL+"/a: the server answered 404", dead.URL+"/b: ", "connection refused",
			wrong.URL+"/c: ", digestOf(data), short.URL+"/d: ", "--source", "kbuild fetch")
		if c.visible(t) != 0 {
			t.Error("wrong bytes are visible")
		}
		if _, err := os.Stat(c.path(sourcesDir, digestOf(data)+".part")); !errors.Is(err, fs.ErrNotExist) {
			t.Error("wrong bytes were kept to go on from")
		}
	})
	t.Run("a digest that is none", func(t *testing.T) {
		spec := pinned(data, good.URL+"/a")
		spec.Candidates[0].SHA256 = "../../etc/passwd"
		_, err := emptyCache(t).FetchSource(t.Context(), spec, "", nil)
		wantKind(t, err, SourceUnavailable, "64 lower-case hexadecimal digits")
	})
	t.Run("a file in the cache that was damaged", func(t *testing.T) {
		c := emptyCache(t)
		put(t, c.path(sourcesDir, digestOf(data)+"-l.tar.xz"), []byte("damaged"))
		if _, err := c.FetchSource(t.Context(), pinned(data, good.URL+"/l.tar.xz"), "", nil); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDownloadIsCancelled(t *testing.T) {
	data := kernelXZ(t)
	ctx, cancel := context.WithCancel(t.Context())
	m := newMirror(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:100])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	c := emptyCache(t)
	_, err := c.FetchSource(ctx, pinned(data, m.URL+"/a", m.URL+"/b"), "", nil)
	if !errors.Is(err, context.Canceled) || len(m.asked()) != 1 {
		t.Errorf("error is %v after %d requests", err, len(m.asked()))
	}
	if c.visible(t) != 0 {
		t.Error("a part of a file is visible")
	}
}
