// Package protocol is the conversation between the host and process 1 of the
// guest, over one full-duplex byte stream: a virtio console port or a serial
// line in raw mode.
//
// Both ends hold a [Conn]. It carries control messages (JSON calls with
// answers in both directions, and events) and, beside them, data streams with
// credit-based flow control, so that a slow reader of one stream holds up
// neither the other streams nor control, and no memory grows with what a peer
// sends. The host speaks through a [Client], which knows the methods; the
// guest accepts sessions from a [Listener].
//
// docs/guest-protocol.md specifies every byte.
package protocol
