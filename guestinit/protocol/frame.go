package protocol

import (
	"bufio"
	"encoding/binary"
	"fmt"
)

// Limits of the wire format.
const (
	// MaxPayload bounds the payload of a frame.
	MaxPayload = 64 << 10
	// MaxMessage bounds a control message, which may span several frames.
	MaxMessage = 1 << 20
	// MaxWindow bounds the window that a peer may announce, so that credit
	// fits its field and a hostile Hello reserves nothing.
	MaxWindow = 16 << 20
	// MinWindow is the smallest window that a peer may announce.
	MinWindow = 4 << 10
)

const (
	headerSize = 12
	magic0     = 0x72 // 'r'
	magic1     = 0x56 // 'V'
)

type frameType uint8

const (
	frameHello   frameType = 1 // stream 0; helloMagic, then JSON
	frameControl frameType = 2 // stream 0; JSON, or a part of it (flagMore)
	frameOpen    frameType = 3 // host to guest; empty
	frameData    frameType = 4 // bytes; flagEOF ends this direction
	frameCredit  frameType = 5 // uint32: that many more bytes may be sent
	frameStop    frameType = 6 // empty: the sender reads no more of the stream
	frameIdle    frameType = 7 // stream 0; empty: the sender is alive
	frameMark    frameType = 8 // stream 0; uint64, to be sent back as frameEcho
	frameEcho    frameType = 9 // stream 0; uint64 of the last frameMark
)

const (
	flagEOF  = 0x01 // frameData: the last of this direction
	flagMore = 0x02 // frameControl: the message goes on in the next frame
)

// header is what precedes every payload: magic (2 bytes), type, flags, stream
// id (4), payload length (4), little-endian.
type header struct {
	kind   frameType
	flags  uint8
	stream uint32
	length uint32
}

func appendHeader(b []byte, h header) []byte {
	b = append(b, magic0, magic1, byte(h.kind), h.flags)
	b = binary.LittleEndian.AppendUint32(b, h.stream)
	return binary.LittleEndian.AppendUint32(b, h.length)
}

// parseHeader decodes and judges a header by itself, before anything is read
// or allocated for its payload.
func parseHeader(b []byte) (header, error) {
	if b[0] != magic0 || b[1] != magic1 {
		return header{}, fmt.Errorf("%w: starts with % x where a frame was due", ErrFrame, b[:headerSize])
	}
	h := header{
		kind:   frameType(b[2]),
		flags:  b[3],
		stream: binary.LittleEndian.Uint32(b[4:]),
		length: binary.LittleEndian.Uint32(b[8:]),
	}
	if h.length > MaxPayload {
		return header{}, fmt.Errorf("%w: payload of %d bytes, over %d", ErrFrame, h.length, MaxPayload)
	}
	allowed, onStream, fixed := uint8(0), false, -1
	switch h.kind {
	case frameHello:
	case frameControl:
		allowed = flagMore
	case frameOpen, frameStop:
		onStream, fixed = true, 0
	case frameData:
		allowed, onStream = flagEOF, true
	case frameCredit:
		onStream, fixed = true, 4
	case frameIdle:
		fixed = 0
	case frameMark, frameEcho:
		fixed = 8
	default:
		return header{}, fmt.Errorf("%w: unknown type %d", ErrFrame, h.kind)
	}
	switch {
	case h.flags&^allowed != 0:
		return header{}, fmt.Errorf("%w: flags %#x on type %d", ErrFrame, h.flags, h.kind)
	case onStream != (h.stream != 0):
		return header{}, fmt.Errorf("%w: type %d on stream %d", ErrFrame, h.kind, h.stream)
	case fixed >= 0 && h.length != uint32(fixed):
		return header{}, fmt.Errorf("%w: type %d with %d bytes, not %d", ErrFrame, h.kind, h.length, fixed)
	}
	return h, nil
}

// readBufferSize holds the longest frame whole, so that a payload can be
// looked at in place.
const readBufferSize = headerSize + MaxPayload

// nextFrame returns the next header and its payload, which stays valid until
// the next read.
func nextFrame(r *bufio.Reader) (header, []byte, error) {
	b, err := r.Peek(headerSize)
	if err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(b)
	if err != nil {
		return header{}, nil, err
	}
	b, err = r.Peek(headerSize + int(h.length))
	if err != nil {
		return header{}, nil, err
	}
	payload := b[headerSize:]
	if _, err := r.Discard(len(b)); err != nil {
		return header{}, nil, err
	}
	return h, payload, nil
}
