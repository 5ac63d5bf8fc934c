package artifact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// RemoteOptions say how a registry is used. The zero value is right for most.
type RemoteOptions struct {
	// PlainHTTP allows HTTP without TLS to any host. To 127.0.0.0/8, ::1 and
	// localhost plain HTTP is what is used anyway.
	PlainHTTP bool
	// Platform is the one that Pull takes of an index; nil means the store's.
	Platform *ocispec.Platform
	// AllPlatforms makes Pull take all platforms of an index.
	AllPlatforms bool
	// Referrers makes Pull take SBOM, source, signatures and the like too. Push
	// always sends those it has.
	Referrers bool
	// As is the name a pulled image gets in the store; empty means its reference.
	As string
	// Credentials are used in place of Docker's configuration (DOCKER_CONFIG, else
	// ~/.docker/config.json, with its credential helpers).
	Credentials credentials.Store
	// Transport is used in place of one with sensible time limits.
	Transport http.RoundTripper
	// UserAgent is sent to the registry; empty means "runv-legacy".
	UserAgent string
	// Retries is how often a request that failed for a passing reason is tried
	// again; 0 means 4, negative means never. RetryWait is the first pause, which
	// doubles; 0 means 250 ms.
	Retries   int
	RetryWait time.Duration
	// Stall is how long a download may stand still before it counts as broken;
	// 0 means a minute.
	Stall time.Duration
}

func (o RemoteOptions) retries() int {
	switch {
	case o.Retries < 0:
		return 0
	case o.Retries == 0:
		return 4
	}
	return o.Retries
}

func (o RemoteOptions) retryWait() time.Duration { return cmp.Or(o.RetryWait, 250*time.Millisecond) }

// peer is one repository of a registry.
type peer struct {
	repo *remote.Repository
	opts RemoteOptions
	rep  *reporter
}

// parseRemote splits host/path[:tag][@digest].
func parseRemote(ref string) (r registry.Reference, tag string, err error) {
	r, err = registry.ParseReference(ref)
	if err != nil {
		return r, "", fmt.Errorf("%w %q: want host/path:tag, as in registry.example/kernels:2.6.32: %w", ErrInvalidReference, clip(ref), err)
	}
	if !strings.ContainsAny(r.Registry, ".:") && r.Registry != "localhost" {
		return r, "", fmt.Errorf("%w %q: %q is not a registry's host name; want host/path:tag, as in registry.example/%s", ErrInvalidReference, clip(ref), r.Registry, clip(ref))
	}
	if _, err := r.Digest(); err != nil {
		return r, r.Reference, nil
	}
	if !digestPattern.MatchString(r.Reference) {
		return r, "", fmt.Errorf("%w %q: only sha256 and sha512 digests are known", ErrInvalidReference, clip(ref))
	}
	// oras-go drops the tag of host/path:tag@digest.
	before, _, _ := strings.Cut(ref, "@")
	if i := strings.LastIndexByte(before, ':'); i > strings.LastIndexByte(before, '/') {
		tag = before[i+1:]
		if !tagPattern.MatchString(tag) {
			return r, "", fmt.Errorf("%w %q: %q is not a tag", ErrInvalidReference, clip(ref), clip(tag))
		}
	}
	return r, tag, nil
}

// isLoopback reports whether a registry's host is this machine by its address or
// by the name localhost (RFC 6761 section 6.3), without asking a resolver.
func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func newPeer(ref registry.Reference, opts RemoteOptions, progress Progress) (*peer, error) {
	store := opts.Credentials
	if store == nil {
		docker, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("read Docker's credentials: %w; mend or remove config.json in ~/.docker or DOCKER_CONFIG", err)
		}
		store = docker
	}
	base := opts.Transport
	if base == nil {
		base = defaultTransport()
	}
	client := &auth.Client{
		Client: &http.Client{Transport: &retry.Transport{Base: base, Policy: func() retry.Policy {
			return &retry.GenericPolicy{
				Retryable: retry.DefaultPredicate, Backoff: retry.ExponentialBackoff(opts.retryWait(), 2, 0.1),
				MinWait: opts.retryWait(), MaxWait: 5 * time.Second, MaxRetry: opts.retries(),
			}
		}}},
		Cache:      auth.NewCache(),
		Credential: credentials.Credential(store),
	}
	client.SetUserAgent(cmp.Or(opts.UserAgent, "runv-legacy"))
	repo := &remote.Repository{
		Client: client, Reference: ref, PlainHTTP: opts.PlainHTTP || isLoopback(ref.Registry),
		MaxMetadataBytes: maxManifestSize, ReferrerListMaxPages: 16,
		// Many registries forbid deletes; an outdated referrers index is harmless.
		SkipReferrersGC: true,
	}
	return &peer{repo: repo, opts: opts, rep: &reporter{to: progress}}, nil
}

func defaultTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          16,
		IdleConnTimeout:       30 * time.Second,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 5 * time.Minute, // a registry may hash a large upload before it answers
	}
}

// explain turns a transport's error into one that says what to do.
func (p *peer) explain(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: %w", doing, cause)
	}
	host := p.repo.Reference.Registry
	var resp *errcode.ErrorResponse
	var urlErr *url.Error
	switch {
	case errors.As(err, new(*DigestError)), isStoreError(err):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return fmt.Errorf("%s: %w: %s wants a user name and password; run \"docker login %s\"", doing, ErrDenied, host, host)
	case errors.As(err, &resp) && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden):
		return fmt.Errorf("%s: %w: %s says %w; run \"docker login %s\"", doing, ErrDenied, host, err, host)
	case errors.Is(err, errdef.ErrNotFound), errors.As(err, &resp) && resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s: %w: registry %s has no %s", doing, ErrNotFound, host, p.repo.Reference)
	case errors.As(err, &resp):
		return fmt.Errorf("%s: %w: %w", doing, ErrRegistry, err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s: %w: %s does not speak TLS; plain HTTP off loopback has to be allowed expressly", doing, ErrPlainHTTP, host)
	case errors.As(err, &urlErr):
		return fmt.Errorf("%s: %w: %s: %w", doing, ErrUnreachable, host, urlErr.Err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func isStoreError(err error) bool {
	for _, e := range []error{ErrNoSpace, ErrReadOnly, ErrInvalid, ErrCorrupt, ErrIncomplete, ErrNotGuest, ErrPlatform, ErrSchema, ErrTitle} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// transient reports whether a transfer that broke off is worth continuing. A
// registry that cannot be dialled is not: that is said at once.
func transient(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) {
		return resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
	}
	var netErr net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, errStalled) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.As(err, &netErr)
}

var errStalled = errors.New("the transfer stood still")

// pause waits before the next attempt, or until ctx is done.
func (p *peer) pause(ctx context.Context, attempt int) error {
	t := time.NewTimer(min(p.opts.retryWait()<<min(attempt, 16), 10*time.Second))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
