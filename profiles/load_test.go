package profiles

import "testing"

func TestBuiltinsLoad(t *testing.T) {
	summaries, err := List()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range summaries {
		t.Log(s)
	}
}
