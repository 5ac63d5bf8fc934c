package artifact

import (
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// EventKind says what an Event is about.
type EventKind int

// Kinds of events. Each transfer begins with EventPlan; each blob then has
// EventSkipped, EventMounted, or EventStart, EventBytes... and EventDone.
const (
	EventPlan    EventKind = iota + 1 // Total is the size of all blobs
	EventStart                        // a blob's transfer begins, at Done if it is continued
	EventBytes                        // Done bytes of Total are transferred
	EventDone                         // the blob is there and verified
	EventSkipped                      // the blob was there already
	EventMounted                      // the registry had the blob in another repository
	EventRetry                        // Err interrupted the transfer, which goes on
)

// Event is one step of a push or a pull.
type Event struct {
	Kind        EventKind
	Digest      digest.Digest
	Title       string // file name, or the media type where there is none
	Done, Total int64
	Err         error
}

// Progress is told about events, one at a time. It must not block. nil is allowed
// everywhere.
type Progress func(Event)

// reporter serialises events of concurrent transfers.
type reporter struct {
	mu sync.Mutex
	to Progress
}

func (r *reporter) send(kind EventKind, d ocispec.Descriptor, done int64, err error) {
	if r.to == nil {
		return
	}
	title := d.Annotations[ocispec.AnnotationTitle]
	if title == "" || CheckTitle(title) != nil {
		title = d.MediaType
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to(Event{Kind: kind, Digest: d.Digest, Title: title, Done: done, Total: d.Size, Err: err})
}
