package protocol

// ring is a byte queue that grows on demand, never beyond max.
type ring struct {
	buf  []byte
	head int
	n    int
	max  int
}

const ringStart = 4 << 10

func (r *ring) grow(need int) {
	size := max(len(r.buf), min(ringStart, r.max))
	for size < need {
		size *= 2
	}
	size = min(size, r.max)
	if size == len(r.buf) {
		return
	}
	buf := make([]byte, size)
	n := copy(buf, r.buf[r.head:min(r.head+r.n, len(r.buf))])
	copy(buf[n:], r.buf[:r.n-n])
	r.buf, r.head = buf, 0
}

// write appends what fits under max and returns how much that was.
func (r *ring) write(p []byte) int {
	p = p[:min(len(p), r.max-r.n)]
	if len(p) == 0 {
		return 0
	}
	r.grow(r.n + len(p))
	tail := (r.head + r.n) % len(r.buf)
	n := copy(r.buf[tail:], p)
	copy(r.buf, p[n:])
	r.n += len(p)
	return len(p)
}

// read moves up to len(p) bytes out.
func (r *ring) read(p []byte) int {
	p = p[:min(len(p), r.n)]
	n := copy(p, r.buf[r.head:])
	copy(p[n:], r.buf)
	r.drop(len(p))
	return len(p)
}

// appendTo moves up to limit bytes out, onto the end of b.
func (r *ring) appendTo(b []byte, limit int) []byte {
	limit = min(limit, r.n)
	first := min(limit, len(r.buf)-r.head)
	b = append(b, r.buf[r.head:r.head+first]...)
	b = append(b, r.buf[:limit-first]...)
	r.drop(limit)
	return b
}

func (r *ring) drop(n int) {
	r.n -= n
	if r.n == 0 {
		r.head = 0
		return
	}
	r.head = (r.head + n) % len(r.buf)
}

// free gives the memory back.
func (r *ring) free() { *r = ring{max: r.max} }
