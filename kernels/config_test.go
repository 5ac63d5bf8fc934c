// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestConfigureGivesWhatIsAsked(t *testing.T) {
	k := newTiny(t, t.TempDir())
	makes := countMakes(t)
	res, err := k.Configure(t.Context(), k.with(withVirtio), nil)
	if err != nil || len(res.Problems) != 0 {
		t.Fatalf("Configure: %v, problems %v", err, res.Problems)
	}
	for _, want := range []string{"CONFIG_VIRTIO=y\n", "CONFIG_LOCALVERSION=\"-runv\"\n", "# CONFIG_LOCALVERSION_AUTO is not set\n"} {
		if !bytes.Contains(res.Config, []byte(want)) {
			t.Errorf("%q is not in .config:\n%s", want, res.Config)
		}
	}
	n := makes()
	var rec recorder
	again, err := k.Configure(t.Context(), k.with(withVirtio), rec.progress)
	if err != nil || !bytes.Equal(again.Config, res.Config) {
		t.Errorf("second time: %v\n%s", err, again.Config)
	}
	if got := makes(); got != n || !rec.has(StageConfigure, Cached) {
		t.Errorf("make was started %d more times, events %v", got-n, rec.events)
	}
	b := k.mustBuild(k.with(withVirtio), BuildOptions{}, nil)
	if config, err := os.ReadFile(b.Config); err != nil || !bytes.Equal(config, res.Config) {
		t.Errorf("the kernel's config: %v\n%s", err, config)
	}
	if got := makes(); got != n+2 { // plan and build
		t.Errorf("the build started make %d times, want 2", got-n)
	}
}

func TestDefconfigIsOverlaid(t *testing.T) {
	k := newTiny(t, t.TempDir())
	r := k.with("CONFIG_VIRTIO=y\n")
	r.Base = "defconfig" // which has VIRTUALIZATION
	res, err := k.Configure(t.Context(), r, nil)
	if err != nil || len(res.Problems) != 0 {
		t.Fatalf("Configure: %v, problems %v", err, res.Problems)
	}
	r = k.with("# CONFIG_VIRTUALIZATION is not set\n")
	r.Base = "defconfig"
	res, err = k.Configure(t.Context(), r, nil)
	if err != nil || len(res.Problems) != 0 || !bytes.Contains(res.Config, []byte("# CONFIG_VIRTUALIZATION is not set\n")) {
		t.Errorf("Configure: %v, problems %v\n%s", err, res.Problems, res.Config)
	}
}

func TestLaterFragmentWins(t *testing.T) {
	k := newTiny(t, t.TempDir())
	r := k.recipe
	r.Fragments = []Fragment{
		{Name: "off.config", Data: []byte("# CONFIG_VIRTUALIZATION is not set\n")},
		{Name: "on.config", Data: []byte("\n# a comment\nCONFIG_VIRTUALIZATION=y\n")},
	}
	res, err := k.Configure(t.Context(), r, nil)
	if err != nil || len(res.Problems) != 0 || !bytes.Contains(res.Config, []byte("CONFIG_VIRTUALIZATION=y\n")) {
		t.Errorf("Configure: %v, problems %v\n%s", err, res.Problems, res.Config)
	}
}

func TestConfigurationThatIsNotAsAskedFails(t *testing.T) {
	k := newTiny(t, t.TempDir())
	r := k.recipe
	r.Fragments = []Fragment{
		{Name: "base.config", Data: []byte("CONFIG_64BIT=y\n")},
		{Name: "devices.config", Data: []byte("# Devices\n\nCONFIG_VIRTIO=y\nCONFIG_VIRTOI=y\n# CONFIG_NEVER_HEARD_OF is not set\n")},
	}
	for range 2 { // found, and from the cache
		_, err := k.Build(t.Context(), r, BuildOptions{}, nil)
		var ce *ConfigError
		if !errors.As(err, &ce) {
			t.Fatalf("Build: %v, want a *ConfigError", err)
		}
		if len(ce.Problems) != 3 {
			t.Fatalf("problems %+v, want 3", ce.Problems)
		}
		p := ce.Problems[0]
		if p.Symbol != "CONFIG_VIRTIO" || p.Fragment != "devices.config" || p.Line != 3 || p.Wanted != "y" || p.Got != "n" || p.Unknown || !slices.Equal(p.Needs, []string{"VIRTUALIZATION=y"}) || !slices.Equal(p.Unmet, []string{"VIRTUALIZATION"}) {
			t.Errorf("problem %+v", p)
		}
		for i, want := range map[int]ConfigProblem{
			1: {Symbol: "CONFIG_VIRTOI", Line: 4},
			2: {Symbol: "CONFIG_NEVER_HEARD_OF", Line: 5},
		} {
			p := ce.Problems[i]
			if !p.Unknown || p.Symbol != want.Symbol || p.Line != want.Line || p.Fragment != "devices.config" {
				t.Errorf("problem %+v, want unknown symbol %s of line %d", p, want.Symbol, want.Line)
			}
		}
		for _, p := range ce.Problems {
			if !strings.Contains(err.Error(), "\n  "+p.String()) {
				t.Errorf("error %q does not have %q", err, p)
			}
		}
		// The cache knows fragments by content: a new name shows at once.
		r.Fragments = slices.Clone(r.Fragments)
		res, err := k.Configure(t.Context(), r, nil)
		if err != nil || len(res.Problems) != 3 {
			t.Errorf("Configure: %v, problems %v", err, res.Problems)
		}
		r.Fragments[0].Name = "renamed.config"
	}
	// The tree is still good for another recipe.
	var rec recorder
	k.mustBuild(k.recipe, BuildOptions{}, rec.progress)
	if rec.has(StageUnpack, Started) {
		t.Error("a wrong configuration cost the work tree")
	}
}

func TestSymbolThatCannotBeSeenMayBeAskedOff(t *testing.T) {
	k := newTiny(t, t.TempDir())
	res, err := k.Configure(t.Context(), k.with("# CONFIG_VIRTUALIZATION is not set\n# CONFIG_VIRTIO is not set\n"), nil)
	if err != nil || len(res.Problems) != 0 {
		t.Errorf("Configure: %v, problems %v", err, res.Problems)
	}
}
