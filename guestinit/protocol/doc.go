// Package protocol is the conversation between the host and process 1 of the
// guest, over one byte stream.
package protocol
