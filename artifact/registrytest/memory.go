package registrytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Memory is a registry in memory: the part of the distribution specification
// v1.1.1 that push and pull of an artifact use.
type Memory struct {
	// Addr is where it listens: "127.0.0.1:40123".
	Addr string
	// Referrers turns the referrers API on; without it clients use the tag schema.
	Referrers bool

	mu        sync.Mutex
	intercept func(http.ResponseWriter, *http.Request) bool
	blobs     map[string]map[string][]byte   // repository, digest
	manifests map[string]map[string]manifest // repository, tag or digest
	requests  []string
}

type manifest struct {
	mediaType string
	data      []byte
}

// NewMemory serves an empty registry until the test ends.
func NewMemory(t testing.TB) *Memory {
	t.Helper()
	m := &Memory{Referrers: true, blobs: map[string]map[string][]byte{}, manifests: map[string]map[string]manifest{}}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	m.Addr = server.Listener.Addr().String()
	return m
}

// Intercept sees each request first; when it returns true it has answered.
func (m *Memory) Intercept(f func(http.ResponseWriter, *http.Request) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.intercept = f
}

// Requests returns "METHOD /path range" of all requests so far, and forgets them.
func (m *Memory) Requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.requests
	m.requests = nil
	return out
}

// Blob returns a blob's bytes, for a test that serves them wrongly.
func (m *Memory) Blob(repo string, d digest.Digest) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.blobs[repo][d.String()]
}

// SetBlob stores bytes under a digest, right or wrong.
func (m *Memory) SetBlob(repo string, d digest.Digest, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	put(m.blobs, repo, d.String(), data)
}

// SetManifest stores a manifest under a tag or digest, right or wrong.
func (m *Memory) SetManifest(repo, ref, mediaType string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	put(m.manifests, repo, ref, manifest{mediaType, data})
}

func put[V any](to map[string]map[string]V, repo, key string, v V) {
	if to[repo] == nil {
		to[repo] = map[string]V{}
	}
	to[repo][key] = v
}

// ServeHTTP implements http.Handler.
func (m *Memory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.requests = append(m.requests, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Range")))
	intercept := m.intercept
	m.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	for _, kind := range []string{"/blobs/uploads/", "/blobs/", "/manifests/", "/referrers/"} {
		repo, rest, ok := strings.Cut(path, kind)
		if !ok {
			continue
		}
		switch kind {
		case "/blobs/uploads/":
			m.upload(w, r, repo)
		case "/blobs/":
			m.blob(w, r, repo, rest)
		case "/manifests/":
			m.manifest(w, r, repo, rest)
		case "/referrers/":
			m.referrers(w, repo, rest)
		}
		return
	}
	w.WriteHeader(http.StatusOK) // GET /v2/
}

func fail(w http.ResponseWriter, status int, code, msg string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, msg)
}

func (m *Memory) upload(w http.ResponseWriter, r *http.Request, repo string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Method == http.MethodPost {
		mount, from := r.URL.Query().Get("mount"), r.URL.Query().Get("from")
		if data, ok := m.blobs[from][mount]; ok && mount != "" {
			put(m.blobs, repo, mount, data)
			w.Header().Set("Location", "/v2/"+repo+"/blobs/"+mount)
			w.WriteHeader(http.StatusCreated)
			return
		}
		w.Header().Set("Location", "/v2/"+repo+"/blobs/uploads/session")
		w.WriteHeader(http.StatusAccepted)
		return
	}
	m.mu.Unlock()
	data, err := io.ReadAll(r.Body)
	m.mu.Lock()
	want := digest.Digest(r.URL.Query().Get("digest"))
	if err != nil || digest.FromBytes(data) != want {
		fail(w, http.StatusBadRequest, "DIGEST_INVALID", "upload does not match its digest")
		return
	}
	put(m.blobs, repo, want.String(), data)
	w.WriteHeader(http.StatusCreated)
}

func (m *Memory) blob(w http.ResponseWriter, r *http.Request, repo, dig string) {
	m.mu.Lock()
	data, ok := m.blobs[repo][dig]
	m.mu.Unlock()
	if !ok {
		fail(w, http.StatusNotFound, "BLOB_UNKNOWN", "no such blob")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", dig)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (m *Memory) manifest(w http.ResponseWriter, r *http.Request, repo, ref string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Method == http.MethodPut {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		entry := manifest{r.Header.Get("Content-Type"), data}
		put(m.manifests, repo, ref, entry)
		put(m.manifests, repo, digest.FromBytes(data).String(), entry)
		var parsed ocispec.Manifest
		if m.Referrers && json.Unmarshal(data, &parsed) == nil && parsed.Subject != nil {
			w.Header().Set("OCI-Subject", parsed.Subject.Digest.String())
		}
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(data).String())
		w.WriteHeader(http.StatusCreated)
		return
	}
	entry, ok := m.manifests[repo][ref]
	if !ok {
		fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "no such manifest")
		return
	}
	w.Header().Set("Content-Type", entry.mediaType)
	w.Header().Set("Content-Length", fmt.Sprint(len(entry.data)))
	dig := digest.FromBytes(entry.data).String()
	if strings.HasPrefix(ref, "sha256:") {
		dig = ref // a registry that serves wrong bytes does not own up to it
	}
	w.Header().Set("Docker-Content-Digest", dig)
	if r.Method == http.MethodGet {
		w.Write(entry.data)
	}
}

func (m *Memory) referrers(w http.ResponseWriter, repo, dig string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.Referrers {
		fail(w, http.StatusNotFound, "NOT_FOUND", "no referrers API")
		return
	}
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	index.SchemaVersion = 2
	for ref, entry := range m.manifests[repo] {
		var parsed ocispec.Manifest
		if !strings.HasPrefix(ref, "sha256:") || json.Unmarshal(entry.data, &parsed) != nil || parsed.Subject == nil || parsed.Subject.Digest.String() != dig {
			continue
		}
		index.Manifests = append(index.Manifests, ocispec.Descriptor{
			MediaType: entry.mediaType, Digest: digest.Digest(ref), Size: int64(len(entry.data)), ArtifactType: parsed.ArtifactType,
		})
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	json.NewEncoder(w).Encode(index)
}
