package protocol

import "fmt"

// Limits of Hello.InFlight.
const (
	MinInFlight = 16 << 10
	MaxInFlight = 64 << 20
)

// piece is how the terminal layer cuts what is written (drivers/char/tty_io.c,
// do_tty_write): each piece is one message in the socket behind QEMU, however
// short, so that a write costs whole pieces.
const piece = 2 << 10

// smallestBatch is the room that a batch needs: the longest control frame, or
// a useful amount of data, and a mark.
const smallestBatch = controlPart + 4*headerSize + piece

// pace keeps a side from sending more than the peer's end of the channel
// holds. After every so many bytes a mark is sent, which the peer sends back
// once it has read that far. The zero value does not limit.
type pace struct {
	limit uint64
	spent uint64 // cost of all that was sent
	mark  uint64 // last mark sent
	read  uint64 // last mark that came back
}

// room is how long the next batch may be; less than smallestBatch means that
// it has to wait.
func (p *pace) room() int {
	if p.limit == 0 {
		return maxBatch
	}
	ahead := p.spent - p.read
	if ahead >= p.limit {
		return 0
	}
	return int(min(p.limit-ahead, maxBatch))
}

// spend accounts for a batch of n bytes, and reports whether it has to end
// with a mark, which markSize was left for.
func (p *pace) spend(n int) (mark uint64, due bool) {
	if p.limit == 0 || n == 0 {
		return 0, false
	}
	p.spent += uint64((n + markSize + piece - 1) / piece * piece)
	if p.spent-p.mark < p.limit/4 {
		return 0, false
	}
	p.mark = p.spent
	return p.mark, true
}

const markSize = headerSize + 8

func (p *pace) echoed(mark uint64) error {
	if mark > p.mark || mark < p.read {
		return fmt.Errorf("%w: mark %d was echoed, of %d to %d", ErrFlowControl, mark, p.read, p.mark)
	}
	p.read = mark
	return nil
}

// controlPart is the payload of one control frame of a message that is longer.
// Frames are not cut, and a mark goes between two of them.
const controlPart = 4 << 10

// frames is a queue of whole frames.
type frames struct {
	queue [][]byte
	size  int
}

func (f *frames) add(h header, payload []byte) {
	b := make([]byte, 0, headerSize+len(payload))
	b = append(appendHeader(b, h), payload...)
	f.queue = append(f.queue, b)
	f.size += len(b)
}

// appendTo moves as many frames onto b as stay within limit.
func (f *frames) appendTo(b []byte, limit int) []byte {
	n := 0
	for n < len(f.queue) && len(b)+len(f.queue[n]) <= limit {
		b = append(b, f.queue[n]...)
		f.size -= len(f.queue[n])
		n++
	}
	if n == len(f.queue) {
		f.queue = nil
		return b
	}
	clear(f.queue[:n])
	f.queue = f.queue[n:]
	return b
}
