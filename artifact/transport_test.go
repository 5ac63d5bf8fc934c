package artifact

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
