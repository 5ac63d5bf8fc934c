package profiles

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzLoad feeds a profile and a fragment of foreign making to Load: it gives
// a profile or one *Error that names the file, and never panics.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(minimal), []byte("CONFIG_NET=y\n"))
	f.Add([]byte(whole), []byte("# CONFIG_NET is not set\n"))
	f.Add([]byte("a: &a [*a]\n"), []byte("CONFIG_CMDLINE=\"a\\\"b\"\n"))
	f.Add([]byte("? [a, b]\n: {<<: 1}\n"), []byte("CONFIG_X=0x1f\nCONFIG_X=m"))
	f.Add([]byte("name: !!binary |\n  aGk=\n--- \n...\n"), []byte("\x00"))
	f.Add([]byte("kernel: {version: 0x10, arch: .inf}\nsources: [{}, null]\n"), []byte("CONFIG_="))
	builtins, err := filepath.Glob(filepath.Join("builtin", "*.yaml"))
	if err != nil || len(builtins) == 0 {
		f.Fatalf("no built-in profiles to start from: %v", err)
	}
	for _, file := range builtins {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, []byte("CONFIG_NET=m\n"))
	}
	l, err := newEmbeddedLoader()
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, profile, fragment []byte) {
		file := filepath.Join(dir, "mine.yaml")
		for name, data := range map[string][]byte{file: profile, filepath.Join(dir, "own.config"): fragment} {
			if err := os.WriteFile(name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		p, err := l.load(file)
		if err == nil {
			if p.Name == "" || len(p.Sources) == 0 || len(p.Config.Fragments) == 0 {
				t.Errorf("an incomplete profile was loaded: %+v", p)
			}
			return
		}
		var e *Error
		if !errors.As(err, &e) || e.File == "" || e.Msg == "" {
			t.Errorf("got the error %#v, want an *Error with file and message", err)
		}
	})
}
