package protocol

import (
	"errors"
	"fmt"
)

// Errors that end a Conn, or one of its streams. Test for them with errors.Is.
var (
	// ErrBacklog ends a Conn whose peer sends requests and does not read the
	// answers, so that they would pile up without bound.
	ErrBacklog = errors.New("peer does not read the answers to its requests")
	// ErrClosed is returned by every method once Close was called.
	ErrClosed = errors.New("connection is closed")
	// ErrFlowControl ends a Conn whose peer sent more on a stream than it had
	// credit for, or gave more credit than a stream can have.
	ErrFlowControl = errors.New("peer broke flow control")
	// ErrFrame ends a Conn when the bytes read are no frame: a wrong magic, an
	// unknown type, a payload over MaxPayload, or one that its type forbids.
	ErrFrame = errors.New("malformed frame")
	// ErrMessage ends a Conn when a control message is no valid JSON message
	// or is longer than MaxMessage.
	ErrMessage = errors.New("malformed control message")
	// ErrNewSession ends a Conn when the peer said Hello again: the host was
	// replaced (the Listener can Accept it), or process 1 started anew.
	ErrNewSession = errors.New("peer began a new session")
	// ErrNoHello is returned by Connect when the peer sends bytes, but no
	// Hello among the first MaxPreamble.
	ErrNoHello = errors.New("peer sends something else than the guest protocol")
	// ErrPeerSilent ends a Conn whose peer promised to speak at intervals
	// (Hello.KeepaliveMillis) and stopped.
	ErrPeerSilent = errors.New("peer fell silent")
	// ErrStreamClosed is returned by Read and Write on a stream that this side
	// closed.
	ErrStreamClosed = errors.New("stream is closed")
	// ErrStreamID is returned by TakeStream for a stream that the host did not
	// open, or that was taken already.
	ErrStreamID = errors.New("no such stream")
	// ErrStreamStopped is returned by Write when the peer reads no more of
	// the stream: what a pipe calls EPIPE.
	ErrStreamStopped = errors.New("peer reads no more of this stream")
	// ErrTooLong is returned by Call and Notify for a message over MaxMessage.
	ErrTooLong = errors.New("control message is too long")
	// ErrTooManyStreams is returned by OpenStream at MaxStreams, and ends a
	// Conn whose peer opens more.
	ErrTooManyStreams = errors.New("too many streams are open")
)

// Code says what kind of failure a CallError is. Codes are part of the
// protocol: once published they keep their meaning.
type Code string

// The codes that this version uses. An unknown code is to be treated as
// CodeInternal.
const (
	CodeAccess      Code = "access"      // EACCES, EPERM, ENOEXEC: a shell's 126
	CodeBusy        Code = "busy"        // too many requests at once, or EBUSY
	CodeCanceled    Code = "canceled"    // the caller withdrew the request
	CodeConflict    Code = "conflict"    // the id is in use
	CodeInternal    Code = "internal"    // anything else
	CodeInvalid     Code = "invalid"     // the parameters cannot be right
	CodeNotFound    Code = "not-found"   // ENOENT, no such job: for start, a shell's 127
	CodeTooLarge    Code = "too-large"   // over a documented limit
	CodeUnknown     Code = "unknown"     // unknown method
	CodeUnsupported Code = "unsupported" // this kernel cannot do it
)

// CallError is the failure that the peer answered to a call. Use errors.As.
type CallError struct {
	Method  string `json:"-"`
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

func (e *CallError) Error() string {
	if e.Method == "" {
		return fmt.Sprintf("%s (%s)", e.Message, e.Code)
	}
	return fmt.Sprintf("%s: %s (%s)", e.Method, e.Message, e.Code)
}

// ExitStatus maps a failed start to what a shell would exit with: 127 for a
// program that was not found, 126 for one that cannot be executed. For other
// codes it returns 0 and false.
func (e *CallError) ExitStatus() (int, bool) {
	switch e.Code {
	case CodeNotFound:
		return 127, true
	case CodeAccess:
		return 126, true
	}
	return 0, false
}

// VersionError is returned by Connect and Accept when the two sides have no
// version of the protocol in common.
type VersionError struct {
	LocalMin, LocalMax int
	PeerMin, PeerMax   int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("guest protocol: this side speaks versions %d to %d, the peer %d to %d; use a guest image and a host program of the same release",
		e.LocalMin, e.LocalMax, e.PeerMin, e.PeerMax)
}
