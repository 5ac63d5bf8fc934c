package backports

import (
	"fmt"
	"strconv"
	"strings"
)

// version is a kernel version as the top Makefile composes it: up to four
// numbers, and for a release candidate its number (0 when it is none).
type version struct {
	parts [4]int
	rc    int
}

func parseVersion(s string) (version, error) {
	var v version
	base, rc, isRC := strings.Cut(s, "-rc")
	fields := strings.Split(base, ".")
	if len(fields) > len(v.parts) {
		return v, fmt.Errorf("kernel version %q has more than %d numbers", s, len(v.parts))
	}
	for i, f := range fields {
		n, err := versionNumber(f)
		if err != nil {
			return v, fmt.Errorf("kernel version %q: %w; write it like 2.6.32.71 or 6.1-rc3", s, err)
		}
		v.parts[i] = n
	}
	if isRC {
		n, err := versionNumber(rc)
		if err != nil || n == 0 {
			return v, fmt.Errorf("kernel version %q: bad release candidate number %q", s, rc)
		}
		v.rc = n
	}
	return v, nil
}

func versionNumber(s string) (int, error) {
	if s == "" || len(s) > 5 || strings.Trim(s, "0123456789") != "" {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return strconv.Atoi(s)
}

func (v version) compare(w version) int {
	for i := range v.parts {
		if d := v.parts[i] - w.parts[i]; d != 0 {
			return sign(d)
		}
	}
	switch {
	case v.rc == w.rc:
		return 0
	case v.rc == 0: // a release comes after its candidates
		return 1
	case w.rc == 0:
		return -1
	}
	return sign(v.rc - w.rc)
}

func sign(d int) int {
	if d < 0 {
		return -1
	}
	return 1
}

// CompareVersions returns -1, 0 or 1 as kernel version a is older than, equal
// to or newer than b. Missing numbers count as 0, so 3.10 equals 3.10.0 and
// 2.6.32 is older than 2.6.32.71; 6.1-rc3 is older than 6.1.
func CompareVersions(a, b string) (int, error) {
	v, err := parseVersion(a)
	if err != nil {
		return 0, err
	}
	w, err := parseVersion(b)
	if err != nil {
		return 0, err
	}
	return v.compare(w), nil
}

// Range is a set of kernel versions: all its bounds must hold.
type Range struct {
	text   string
	bounds []bound
}

type bound struct {
	op string
	v  version
}

// ParseRange reads bounds separated by spaces, such as ">=2.6.32 <2.6.33". The
// operators are =, <, <=, > and >=.
func ParseRange(s string) (Range, error) {
	r := Range{text: s}
	for _, field := range strings.Fields(s) {
		text := strings.TrimLeft(field, "<>=")
		op := field[:len(field)-len(text)]
		switch op {
		case "=", "<", "<=", ">", ">=":
		default:
			return Range{}, fmt.Errorf("bound %q does not start with =, <, <=, > or >=", field)
		}
		v, err := parseVersion(text)
		if err != nil {
			return Range{}, err
		}
		r.bounds = append(r.bounds, bound{op, v})
	}
	if len(r.bounds) == 0 {
		return Range{}, fmt.Errorf("no version bound given; write one like \">=2.6.32 <2.6.33\"")
	}
	return r, nil
}

// String returns the range as it was written.
func (r Range) String() string { return r.text }

// Contains tells whether the kernel version lies within the range.
func (r Range) Contains(kernel string) (bool, error) {
	v, err := parseVersion(kernel)
	if err != nil {
		return false, err
	}
	for _, b := range r.bounds {
		if !b.holds(v.compare(b.v)) {
			return false, nil
		}
	}
	return true, nil
}

func (b bound) holds(cmp int) bool {
	switch b.op {
	case "=":
		return cmp == 0
	case "<":
		return cmp < 0
	case "<=":
		return cmp <= 0
	case ">":
		return cmp > 0
	default:
		return cmp >= 0
	}
}

// Check tells whether every patch is meant for the kernel version; the error
// wraps ErrKernelRange and names the first that is not.
func Check(kernel string, patches []Patch) error {
	for _, p := range patches {
		r, err := ParseRange(p.Kernels)
		if err != nil {
			return fmt.Errorf("patch %s: kernels: %w", p.ID, err)
		}
		ok, err := r.Contains(kernel)
		if err != nil {
			return fmt.Errorf("patch %s: %w", p.ID, err)
		}
		if !ok {
			return fmt.Errorf("patch %s is for kernels %q, not %s: %w; exclude it or choose another series",
				p.ID, p.Kernels, kernel, ErrKernelRange)
		}
	}
	return nil
}
