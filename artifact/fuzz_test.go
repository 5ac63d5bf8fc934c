package artifact

import (
	"encoding/json"
	"errors"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func seed(f *testing.F, v any, more ...string) {
	f.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	for _, s := range append(more, "", "null", "[]", "{}", `{"schemaVersion":2}`, `{"schemaVersion":1e99}`, "\xff") {
		f.Add([]byte(s))
	}
}

func FuzzManifest(f *testing.F) {
	m, _ := guestParts(f, testGuest())
	seed(f, m, `{"schemaVersion":2,"config":{"size":-1}}`, `{"schemaVersion":2,"layers":[null],"manifests":[]}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrTitle) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		for _, l := range append(m.Layers, m.Config) {
			if _, err := newBlobs("/store").path(l.Digest); err != nil {
				t.Errorf("accepted a digest without a path: %v", err)
			}
			if l.Size < 0 {
				t.Errorf("accepted the size %d", l.Size)
			}
		}
		if !m.IsGuest() {
			return
		}
		files, err := chooseFiles(m, nil)
		if err != nil {
			if !errors.Is(err, ErrTitle) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		for _, file := range files {
			if file.title != TitleGuest && CheckTitle(file.title) != nil {
				t.Errorf("accepted the title %q", file.title)
			}
		}
		if _, ok := m.Layer(MediaTypeKernel); !ok {
			t.Error("accepted a guest image without a kernel")
		}
	})
}

func FuzzGuestConfig(f *testing.F) {
	seed(f, testGuest(), `{"schemaVersion":2}`, `{"schemaVersion":1,"machine":{"minMemoryMiB":1e400}}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := ParseGuest(data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrSchema) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		if line := g.CommandLine(); len(line) > maxCommandLine || !printable(line) {
			t.Errorf("accepted a command line of %d bytes: %q", len(line), line)
		}
		again, err := g.marshal()
		if err != nil {
			t.Fatalf("accepted what cannot be written: %v", err)
		}
		if _, err := ParseGuest(again); err != nil {
			t.Errorf("wrote what cannot be read: %v", err)
		}
	})
}

func FuzzIndex(f *testing.F) {
	x := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{{
		MediaType: ocispec.MediaTypeImageManifest, Digest: ocispec.DescriptorEmptyJSON.Digest, Size: 2,
		Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64", OSVersion: "2.6.32.71"},
	}}}
	x.SchemaVersion = 2
	seed(f, x, `{"schemaVersion":2,"manifests":[{"platform":null}],"layers":[]}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := ParseIndex(data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		m, err := pickPlatform(x, DefaultPlatform(), true)
		switch {
		case err == nil && !platformMatches(DefaultPlatform(), m.Platform):
			t.Errorf("picked %v", m.Platform)
		case err != nil && !errors.Is(err, ErrPlatform) && !errors.Is(err, ErrInvalid):
			t.Errorf("untyped error %v", err)
		}
	})
}

func FuzzReference(f *testing.F) {
	for _, s := range []string{"a:b", "a", "sha256:abcdef0", "abcdef0", "h.example:5/a/b:c@sha256:00", "::", "@", "a:b:c", "[::1]:5/x:y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := parseReference(s); err != nil && !errors.Is(err, ErrInvalidReference) {
			t.Errorf("untyped error %v", err)
		}
		if name, err := normalTag(s); err == nil {
			if again, err := normalTag(name); err != nil || again != name {
				t.Errorf("normalTag(%q) = %q, and of that %q, %v", s, name, again, err)
			}
		}
		if _, _, err := parseRemote(s); err != nil && !errors.Is(err, ErrInvalidReference) {
			t.Errorf("untyped error %v", err)
		}
	})
}
