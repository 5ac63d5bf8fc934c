package backports

import (
	"errors"
	"testing"
)

func TestCompareVersions(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"2.6.32.71", "2.6.32.71", 0},
		{"2.6.32", "2.6.32.71", -1},
		{"2.6.32.9", "2.6.32.71", -1}, // as numbers, not as text
		{"2.6.33", "2.6.32.71", 1},
		{"3.10", "3.10.0", 0},
		{"3.10.108", "3.9.11", 1},
		{"6.1-rc3", "6.1", -1},
		{"6.1-rc10", "6.1-rc9", 1},
		{"6.1", "6.1-rc9", 1},
	} {
		got, err := CompareVersions(tc.a, tc.b)
		if err != nil || got != tc.want {
			t.Errorf("CompareVersions(%q, %q) = %d, %v; want %d", tc.a, tc.b, got, err, tc.want)
		}
	}
}

func TestCompareVersionsRefuses(t *testing.T) {
	for _, bad := range []string{"", "x", "2.6.32.71.1", "2..6", "2.6.32-runv", "6.1-rc", "6.1-rc0", "-1", "2.6.999999", " 2.6"} {
		if _, err := CompareVersions(bad, "2.6.32"); err == nil {
			t.Errorf("version %q was accepted", bad)
		}
		if _, err := CompareVersions("2.6.32", bad); err == nil {
			t.Errorf("version %q was accepted as the second", bad)
		}
	}
}

func TestRangeContains(t *testing.T) {
	for _, tc := range []struct {
		text, kernel string
		want         bool
	}{
		{">=2.6.32 <2.6.33", "2.6.32", true},
		{">=2.6.32 <2.6.33", "2.6.32.71", true},
		{">=2.6.32 <2.6.33", "2.6.33", false},
		{">=2.6.32 <2.6.33", "2.6.31.14", false},
		{"=2.6.32.71", "2.6.32.71", true},
		{"=2.6.32.71", "2.6.32.70", false},
		{">2.6.32 <=3.10", "2.6.32", false},
		{">2.6.32 <=3.10", "3.10", true},
		{">2.6.32 <=3.10", "3.10.1", false},
	} {
		r, err := ParseRange(tc.text)
		if err != nil {
			t.Fatalf("ParseRange(%q): %v", tc.text, err)
		}
		got, err := r.Contains(tc.kernel)
		if err != nil || got != tc.want {
			t.Errorf("%q contains %s = %t, %v; want %t", tc.text, tc.kernel, got, err, tc.want)
		}
	}
}

func TestParseRangeRefuses(t *testing.T) {
	for _, bad := range []string{"", "  ", "2.6.32", "=>2.6", "~2.6", ">=", ">= 2.6", "<<2.6"} {
		if _, err := ParseRange(bad); err == nil {
			t.Errorf("range %q was accepted", bad)
		}
	}
}

func TestCheck(t *testing.T) {
	patches := []Patch{{ID: "all", Kernels: ">=2.6"}, {ID: "old", Kernels: "<2.6.33"}}
	if err := Check("2.6.32.71", patches); err != nil {
		t.Errorf("2.6.32.71: %v", err)
	}
	if err := Check("3.10.108", patches); !errors.Is(err, ErrKernelRange) {
		t.Errorf("3.10.108: got %v, want ErrKernelRange", err)
	}
	if err := Check("nonsense", patches); err == nil || errors.Is(err, ErrKernelRange) {
		t.Errorf("nonsense: got %v, want a version error", err)
	}
}
