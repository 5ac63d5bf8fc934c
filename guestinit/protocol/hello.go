package protocol

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The versions of the protocol that this package speaks. Version 1 has no
// containers; a version that brings them adds methods and leaves these as they
// are, so that the host can use a version 1 guest for all that it has.
const (
	MinVersion = 1
	MaxVersion = 1
)

// MaxPreamble is how many bytes that belong to no Hello Connect reads past
// before it gives up. A guest that is resumed may still hold the end of a
// frame for a host that is gone.
const MaxPreamble = 1 << 20

// helloMagic starts the payload of a Hello, which makes it findable amid the
// remains of an earlier session.
var helloMagic = []byte("runv-guest/hello")

// Hello is the first frame of each side. The guest's says what it is; the
// host's leaves those fields empty.
type Hello struct {
	MinVersion int `json:"minVersion"`
	MaxVersion int `json:"maxVersion"`
	// Nonce is this side's name of the session, and Peer the nonce of the
	// Hello that this one answers. Connect and Accept fill them in.
	Nonce string `json:"nonce"`
	Peer  string `json:"peer,omitempty"`
	// Window is how much of each stream this side buffers: the credit that a
	// stream starts with.
	Window int `json:"window"`
	// InFlight, if not 0, is how much the peer may send ahead of this side's
	// reading, over all streams and control: see Options.InFlight.
	InFlight int `json:"inFlight,omitempty"`
	// KeepaliveMillis, if not 0, promises that this side sends something at
	// least that often. On a channel that shows no hang-up (hvc0, a serial
	// line) this is how the guest learns that the host is gone.
	KeepaliveMillis int `json:"keepaliveMillis,omitempty"`

	Guest *GuestInfo `json:"guest,omitempty"`
}

// GuestInfo is what process 1 found about its kernel and machine.
type GuestInfo struct {
	Init        string   `json:"init"`        // name and version of process 1
	Release     string   `json:"release"`     // uname -r
	KernelBuild string   `json:"kernelBuild"` // uname -v
	Arch        string   `json:"arch"`        // uname -m
	CPUs        int      `json:"cpus"`
	MemoryKiB   uint64   `json:"memoryKiB"` // MemTotal
	Channel     string   `json:"channel"`   // hvc0, ttyS1 or a port's name
	Features    []string `json:"features"`  // sorted; see docs/guest-protocol.md
	Modules     []string `json:"modules,omitempty"`
	Warnings    []string `json:"warnings,omitempty"` // what went wrong at boot, without ending it
	UptimeMS    int64    `json:"uptimeMillis"`       // since the kernel's clock began
}

// Has reports whether the guest announced a feature.
func (g *GuestInfo) Has(feature string) bool {
	if g == nil {
		return false
	}
	for _, f := range g.Features {
		if f == feature {
			return true
		}
	}
	return false
}

func newNonce() (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a session nonce: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

func writeHello(w io.Writer, h Hello) error {
	doc, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode hello: %w", err)
	}
	length := len(helloMagic) + len(doc)
	if length > MaxPayload {
		return fmt.Errorf("encode hello: %w", ErrTooLong)
	}
	b := appendHeader(nil, header{kind: frameHello, length: uint32(length)})
	b = append(append(b, helloMagic...), doc...)
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("send hello: %w", err)
	}
	return nil
}

// readHello returns the next Hello, past at most limit bytes of anything else
// (0: without limit).
func readHello(r *bufio.Reader, limit int) (Hello, error) {
	for skipped := 0; limit == 0 || skipped <= limit; {
		b, err := r.Peek(headerSize + len(helloMagic))
		if err != nil {
			return Hello{}, fmt.Errorf("wait for hello: %w", err)
		}
		h, err := parseHeader(b)
		if err == nil && h.kind == frameHello && bytes.Equal(b[headerSize:], helloMagic) {
			_, payload, err := nextFrame(r)
			if err != nil {
				return Hello{}, fmt.Errorf("read hello: %w", err)
			}
			return parseHello(payload)
		}
		// Resume at the next byte that could begin a header.
		skip := bytes.IndexByte(b[1:], magic0) + 1
		if skip == 0 {
			skip = len(b)
		}
		if _, err := r.Discard(skip); err != nil {
			return Hello{}, fmt.Errorf("wait for hello: %w", err)
		}
		skipped += skip
	}
	return Hello{}, ErrNoHello
}

func parseHello(payload []byte) (Hello, error) {
	doc, ok := bytes.CutPrefix(payload, helloMagic)
	if !ok {
		return Hello{}, fmt.Errorf("%w: hello without its magic", ErrFrame)
	}
	var h Hello
	if err := json.Unmarshal(doc, &h); err != nil {
		return Hello{}, fmt.Errorf("%w: hello: %w", ErrMessage, err)
	}
	switch {
	case h.MinVersion < 1 || h.MaxVersion < h.MinVersion:
		return Hello{}, fmt.Errorf("%w: hello: versions %d to %d", ErrMessage, h.MinVersion, h.MaxVersion)
	case h.Window < MinWindow || h.Window > MaxWindow:
		return Hello{}, fmt.Errorf("%w: hello: window %d is not within %d and %d", ErrMessage, h.Window, MinWindow, MaxWindow)
	case h.InFlight != 0 && (h.InFlight < MinInFlight || h.InFlight > MaxInFlight):
		return Hello{}, fmt.Errorf("%w: hello: inFlight %d is not 0, nor within %d and %d", ErrMessage, h.InFlight, MinInFlight, MaxInFlight)
	case h.KeepaliveMillis < 0 || h.KeepaliveMillis > 3600_000:
		return Hello{}, fmt.Errorf("%w: hello: keepaliveMillis %d is not within 0 and 3600000", ErrMessage, h.KeepaliveMillis)
	case len(h.Nonce) > 64 || len(h.Peer) > 64:
		return Hello{}, fmt.Errorf("%w: hello: nonce is longer than 64 bytes", ErrMessage)
	}
	return h, nil
}

// agree picks the version of a session, or refuses.
func agree(local, peer Hello) (int, error) {
	v := min(local.MaxVersion, peer.MaxVersion)
	if v < local.MinVersion || v < peer.MinVersion {
		return 0, &VersionError{
			LocalMin: local.MinVersion, LocalMax: local.MaxVersion,
			PeerMin: peer.MinVersion, PeerMax: peer.MaxVersion,
		}
	}
	return v, nil
}

// Attach says how the host meets the guest.
type Attach int

const (
	// AttachBoot: the guest is booting and will say Hello by itself. The host
	// is silent until then: the guest's terminal may still be in line mode.
	AttachBoot Attach = iota
	// AttachResume: the guest waits, or belonged to another host process that
	// left between two frames, as in a clone of a saved guest.
	AttachResume
	// AttachResync: as AttachResume, after a host process that may have died
	// within a frame. Zeros fill up whatever frame the guest still waits for.
	AttachResync
)

// hostHandshake says Hello as the host and returns the guest's.
func hostHandshake(r *bufio.Reader, w io.Writer, local *Hello, how Attach) (Hello, error) {
	if how == AttachBoot {
		peer, err := readHello(r, MaxPreamble)
		if err != nil {
			return Hello{}, err
		}
		local.Peer = peer.Nonce
		// Also sent to a guest of a foreign version, for it to say so.
		return peer, writeHello(w, *local)
	}
	// Written beside reading: the guest may be writing as well, and a channel
	// need not buffer anything.
	sent := make(chan error, 1)
	go func() {
		if how == AttachResync {
			if _, err := w.Write(make([]byte, headerSize+MaxPayload)); err != nil {
				sent <- fmt.Errorf("resynchronise: %w", err)
				return
			}
		}
		sent <- writeHello(w, *local)
	}()
	for stale := 0; stale < maxStaleHellos; stale++ {
		peer, err := readHello(r, MaxPreamble)
		if err != nil {
			return Hello{}, err
		}
		if peer.Peer == local.Nonce {
			return peer, <-sent
		}
	}
	return Hello{}, fmt.Errorf("%w: no hello answers this host's", ErrNoHello)
}

// maxStaleHellos bounds those that a guest may have sent to a host before.
const maxStaleHellos = 16

// guestHandshake waits for a host. announce says Hello first; a Hello of the
// host that does not answer it is answered.
func guestHandshake(r *bufio.Reader, w io.Writer, local *Hello, pending *Hello, announce bool) (Hello, error) {
	var peer Hello
	if pending != nil {
		peer = *pending
	} else {
		if announce {
			if err := writeHello(w, *local); err != nil {
				return Hello{}, err
			}
		}
		var err error
		for {
			peer, err = readHello(r, 0)
			if err == nil {
				break
			}
			// A Hello that is not understood is passed by; only the end of
			// the channel ends the wait.
			if !errors.Is(err, ErrMessage) && !errors.Is(err, ErrFrame) {
				return Hello{}, err
			}
		}
	}
	if peer.Peer == local.Nonce {
		return peer, nil
	}
	local.Peer = peer.Nonce
	return peer, writeHello(w, *local)
}

// closeOnDone closes c when ctx ends, which is what unblocks a handshake.
func closeOnDone(ctx context.Context, c io.Closer) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.Close() })
}
