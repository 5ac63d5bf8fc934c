package artifact

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestResolveForms(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	one := mustAdd(t, s, testImage(), "kernels:2.6.32", AddOptions{})
	img := testImage()
	img.Guest.Kernel = KernelInfo{"6.1.150", "6.1.150-runv"}
	two := mustAdd(t, s, img, "kernels:6.1", AddOptions{})
	img.Guest.Kernel = KernelInfo{"5.10.1", "5.10.1-runv"}
	three := mustAdd(t, s, img, "registry.example:5000/team/kernels:5.10", AddOptions{})
	img.Guest.Kernel = KernelInfo{"3.10.108", "3.10.108-runv"}
	four := mustAdd(t, s, img, "abcdef1", AddOptions{})
	r, err := s.Resolve(ctx, "kernels:2.6.32")
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]digest.Digest{
		"kernels:2.6.32":                          one.Digest,
		"kernels:6.1":                             two.Digest,
		one.Digest.String():                       one.Digest,
		r.Index.Digest.String():                   one.Digest,
		one.Digest.String()[:7+7]:                 one.Digest,
		one.Digest.Encoded()[:7]:                  one.Digest,
		two.Digest.Encoded()[:20]:                 two.Digest,
		"kernels@" + one.Digest.String():          one.Digest,
		"kernels:2.6.32@" + one.Digest.String():   one.Digest,
		"kernels@" + r.Index.Digest.String():      one.Digest,
		"registry.example:5000/team/kernels:5.10": three.Digest,
		"registry.example:5000/team/kernels":      three.Digest,
		"abcdef1":                                 four.Digest,
		"abcdef1:latest":                          four.Digest,
	} {
		got, err := s.Resolve(ctx, ref)
		if err != nil || got.Manifest.Digest != want {
			t.Errorf("Resolve(%q) = %s, %v, want %s", ref, got.Manifest.Digest, err, want)
		}
	}
	if got, err := s.Resolve(ctx, "2.6.32", "kernels:2.6.32"); err != nil || got.Manifest.Digest != one.Digest || got.Name != "kernels:2.6.32" {
		t.Errorf("the second candidate gave %v, %v", got, err)
	}
}

func TestResolveErrors(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	one := mustAdd(t, s, testImage(), "kernels:2.6.32", AddOptions{})
	img := testImage()
	img.Guest.Kernel = KernelInfo{"6.1.150", "6.1.150-runv"}
	mustAdd(t, s, img, "kernels:6.1", AddOptions{})
	for ref, want := range map[string]struct {
		is   error
		text string
	}{
		"kernels":                               {ErrAmbiguous, "kernels:2.6.32, kernels:6.1"},
		"kernels:6.2":                           {ErrNotFound, "did you mean kernels:6.1"},
		"kernel:2.6.32":                         {ErrNotFound, "did you mean kernels:2.6.32"},
		"2.6.32":                                {ErrNotFound, "did you mean kernels:2.6.32"},
		"zzzzzzzzz":                             {ErrNotFound, "kbuild list"},
		"sha256:abc":                            {ErrInvalidReference, "at least 7"},
		"sha256:" + strings.Repeat("0", 64):     {ErrNotFound, ""},
		"kernels:6.1@" + one.Digest.String():    {ErrNotFound, ""},
		"kernels@sha256:xyz":                    {ErrInvalidReference, "64 hex digits"},
		"":                                      {ErrInvalidReference, ""},
		"../../etc/passwd":                      {ErrInvalidReference, ""},
		"a b":                                   {ErrInvalidReference, ""},
		"kernels:" + strings.Repeat("a", 200):   {ErrInvalidReference, "128"},
		strings.Repeat("a", 600):                {ErrInvalidReference, "512"},
		"kernels:\x1b[31mred":                   {ErrInvalidReference, ""},
		"registry.example/kernels:2.6.32@sha1:": {ErrInvalidReference, ""},
	} {
		_, err := s.Resolve(ctx, ref)
		if !errors.Is(err, want.is) || !strings.Contains(err.Error(), want.text) {
			t.Errorf("Resolve(%q) = %v, want %v with %q", ref, err, want.is, want.text)
		}
		if err != nil && strings.Contains(err.Error(), "\x1b") {
			t.Errorf("Resolve(%q): the error holds a terminal's control sequence", ref)
		}
	}
}

func TestAmbiguousPrefix(t *testing.T) {
	s := newStore(t)
	entries := []target{{name: "a:1"}, {name: "b:1"}}
	entries[0].desc.Digest = digest.Digest("sha256:abcdef12" + strings.Repeat("0", 56))
	entries[1].desc.Digest = digest.Digest("sha256:abcdef13" + strings.Repeat("0", 56))
	if _, err := s.find(entries, "abcdef1"); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("find = %v, want ErrAmbiguous", err)
	}
	if got, err := s.find(entries, "abcdef13"); err != nil || got.name != "b:1" {
		t.Errorf("find = %v, %v, want b:1", got, err)
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}} {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("edits(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
