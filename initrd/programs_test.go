package initrd_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"testing"

	"github.com/runv-legacy/runv-legacy/initrd"
)

// unpack reads an archive that Build, Programs or Compress made.
func unpack(t *testing.T, data []byte) map[string]initrd.Entry {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(data))
	must(t, err)
	entries, err := initrd.Read(zr, initrd.Limits{})
	must(t, err)
	byName := map[string]initrd.Entry{}
	for _, e := range entries {
		byName[e.Name] = e
	}
	return byName
}

func TestProgramsSmoke(t *testing.T) {
	data, err := initrd.Programs(context.Background())
	must(t, err)
	e := unpack(t, data)
	t.Logf("%d bytes, binary %d, %d entries", len(data), len(e["bin/bb"].Data), len(e))
}
