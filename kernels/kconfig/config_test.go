// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

func TestParseConfig(t *testing.T) {
	tests := map[string]struct {
		in   string
		want Config
	}{
		"values of all types":       {"CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=0x10\nCONFIG_D=\"a b\"\nCONFIG_E=-1\n", Config{"A": "y", "B": "m", "C": "0x10", "D": `"a b"`, "E": "-1"}},
		"is not set is n":           {"# CONFIG_A is not set\n", Config{"A": "n"}},
		"comments say nothing":      {"#\n# CONFIG_A is set\n# A menu\n#CONFIG_B=y\n", Config{}},
		"the last one counts":       {"CONFIG_A=y\n# CONFIG_A is not set\n", Config{"A": "n"}},
		"blanks at the end, CRLF":   {"CONFIG_A=y \t\r\n", Config{"A": "y"}},
		"an equals sign in a value": {"CONFIG_CMDLINE=\"a=b\"\n", Config{"CMDLINE": `"a=b"`}},
		"no newline at the end":     {"CONFIG_A=y", Config{"A": "y"}},
		"names that are none":       {"CONFIG_=y\nCONFIG_A B=y\nCONFIG_A\nA=y\nCONFIG_A=\n", Config{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseConfig(strings.NewReader(tc.in))
			if err != nil || !maps.Equal(got, tc.want) {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

func TestParseConfigRefusesEndlessLines(t *testing.T) {
	_, err := ParseConfig(strings.NewReader("CONFIG_A=y\nCONFIG_B=" + strings.Repeat("x", maxLine+1)))
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error is %v, want one of line 2", err)
	}
}

func TestConfigIsWrittenSorted(t *testing.T) {
	var b strings.Builder
	n, err := Config{"B": "n", "A": "y", "C": `"x"`}.WriteTo(&b)
	want := "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\n"
	if err != nil || b.String() != want || n != int64(len(want)) {
		t.Errorf("wrote %q (%d), %v", b.String(), n, err)
	}
}

func TestParseFragmentKeepsLines(t *testing.T) {
	f, err := ParseFragment("base.config", strings.NewReader("# a comment\n\nCONFIG_A=y\n  # CONFIG_B is not set\nCONFIG_C=\"s\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Fragment{{"A", "y", "base.config", 3}, {"B", "n", "base.config", 4}, {"C", `"s"`, "base.config", 5}}
	if len(f) != len(want) {
		t.Fatalf("got %v", f)
	}
	for i := range f {
		if f[i] != want[i] {
			t.Errorf("request %d is %v, want %v", i, f[i], want[i])
		}
	}
}

func TestParseFragmentNamesTheBadLine(t *testing.T) {
	for name, line := range map[string]string{
		"no prefix":       "VIRTIO=y",
		"no value":        "CONFIG_VIRTIO",
		"an empty value":  "CONFIG_VIRTIO=",
		"a bare text":     "CONFIG_CMDLINE=a b",
		"an open string":  `CONFIG_CMDLINE="a`,
		"a lone quote":    `CONFIG_CMDLINE="`,
		"a bare sentence": "please",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseFragment("f", strings.NewReader("CONFIG_A=y\n"+line+"\n"))
			var fe *FragmentError
			if !errors.As(err, &fe) || fe.Line != 2 || !strings.HasPrefix(err.Error(), "f:2: ") {
				t.Errorf("error is %v, want a FragmentError of line 2", err)
			}
		})
	}
}

func TestMergeLaterWins(t *testing.T) {
	a := Fragment{{"A", "y", "a", 1}, {"B", "y", "a", 2}}
	b := Fragment{{"C", "y", "b", 1}, {"A", "n", "b", 2}}
	got := Merge(a, b)
	want := Fragment{{"A", "n", "b", 2}, {"B", "y", "a", 2}, {"C", "y", "b", 1}}
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("merged to %v, want %v", got, want)
		}
	}
	if s := got.String(); s != "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=y\n" {
		t.Errorf("written as %q", s)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"a\\\"b\"\n")
	f.Add("# CONFIG_ is not set\nCONFIG_=\nCONFIG_X==\x00\n")
	f.Fuzz(func(t *testing.T, in string) {
		c, err := ParseConfig(strings.NewReader(in))
		if err != nil {
			return
		}
		var b strings.Builder
		if _, err := c.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig(strings.NewReader(b.String()))
		if err != nil || !maps.Equal(c, again) {
			t.Errorf("%v was written and read as %v, %v", c, again, err)
		}
		_, _ = ParseFragment("f", strings.NewReader(in))
	})
}
