package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrAmbiguous is returned when a reference names more than one image.
	ErrAmbiguous = errors.New("ambiguous reference")
	// ErrCorrupt is returned when stored content is not what its digest says.
	ErrCorrupt = errors.New("corrupt content")
	// ErrDenied is returned when a registry refuses the credentials, or wants some.
	ErrDenied = errors.New("access denied")
	// ErrIncomplete is returned when an image lacks blobs that the operation needs,
	// such as the other platforms of an index of which one was pulled.
	ErrIncomplete = errors.New("image is incomplete")
	// ErrInvalid is returned when a manifest, index or config breaks the format.
	ErrInvalid = errors.New("invalid artifact")
	// ErrInvalidReference is returned when a reference or tag is misspelt.
	ErrInvalidReference = errors.New("invalid reference")
	// ErrNoSpace is returned when the store's file system or quota is full.
	ErrNoSpace = errors.New("no space left in the store")
	// ErrNotFound is returned when a reference names nothing.
	ErrNotFound = errors.New("not found")
	// ErrNotGuest is returned when an artifact is well-formed but is no guest image.
	ErrNotGuest = errors.New("not a guest image")
	// ErrNotStore is returned when a folder has content but is no OCI image layout.
	ErrNotStore = errors.New("not an OCI image layout")
	// ErrPlainHTTP is returned when a registry off loopback would be spoken to
	// without TLS, or does not speak TLS.
	ErrPlainHTTP = errors.New("plain HTTP refused")
	// ErrPlatform is returned when an image is for another architecture.
	ErrPlatform = errors.New("image is for another platform")
	// ErrReadOnly is returned when the store cannot be written by this process.
	ErrReadOnly = errors.New("store is not writable")
	// ErrRegistry is returned when a registry answers with an error of its own.
	ErrRegistry = errors.New("registry error")
	// ErrSchema is returned when an artifact was made for a newer format.
	ErrSchema = errors.New("unsupported schema version")
	// ErrTitle is returned when a layer's title cannot safely be a file name.
	ErrTitle = errors.New("unsafe title")
	// ErrUnreachable is returned when a registry cannot be reached at all.
	ErrUnreachable = errors.New("registry is unreachable")
)

// RefError says which reference failed and which names are like it. It wraps
// ErrNotFound or ErrAmbiguous.
type RefError struct {
	Ref   string
	Store string
	Near  []string // names spelt alike (ErrNotFound) or the candidates (ErrAmbiguous)
	Err   error
}

func (e *RefError) Error() string {
	switch {
	case errors.Is(e.Err, ErrAmbiguous):
		return fmt.Sprintf("reference %q is ambiguous: it may be %s; give one of these", e.Ref, strings.Join(e.Near, ", "))
	case len(e.Near) > 0:
		return fmt.Sprintf("no image %q in store %s; did you mean %s?", e.Ref, e.Store, strings.Join(e.Near, ", "))
	}
	return fmt.Sprintf("no image %q in store %s; see what is there with \"kbuild list\"", e.Ref, e.Store)
}

// Unwrap returns the sentinel.
func (e *RefError) Unwrap() error { return e.Err }

// DigestError is returned when bytes are not what their digest says. Where is
// the registry or the store's folder. It wraps ErrCorrupt.
type DigestError struct {
	Blob  digest.Digest
	Where string
	Got   string // what came instead: a digest, or a size
	Fix   string
}

func (e *DigestError) Error() string {
	s := fmt.Sprintf("blob %s from %s has the wrong content: got %s", e.Blob, e.Where, e.Got)
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Unwrap returns ErrCorrupt.
func (e *DigestError) Unwrap() error { return ErrCorrupt }

// FieldError names the field of a manifest, index or config that is wrong. It
// wraps ErrInvalid, or ErrSchema for a format that is too new.
type FieldError struct {
	Document string // "manifest", "index", "config"
	Field    string // JSON path
	Msg      string
	Err      error
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Document, e.Field, e.Msg)
}

// Unwrap returns the sentinel.
func (e *FieldError) Unwrap() error { return e.Err }

func invalid(document, field, format string, args ...any) error {
	return &FieldError{Document: document, Field: field, Msg: fmt.Sprintf(format, args...), Err: ErrInvalid}
}

// storeError turns what the file system said into what a user can act on.
func storeError(dir, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s: %w: %s is full; free space there (\"kbuild gc\" removes what no tag uses) or choose another store: %w", doing, ErrNoSpace, dir, err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s: %w: %s; run as its owner or choose another store with RUNV_LEGACY_STORE: %w", doing, ErrReadOnly, dir, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
