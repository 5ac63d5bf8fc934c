package machine

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func TestKernelHeaders(t *testing.T) {
	header := func(version uint16, pref uint64, size uint32) []byte {
		image := fakeKernel()
		binary.LittleEndian.PutUint16(image[bzImageVersionAt:], version)
		binary.LittleEndian.PutUint64(image[bzImagePrefAt:], pref)
		binary.LittleEndian.PutUint32(image[bzImageInitAt:], size)
		return image
	}
	for name, c := range map[string]struct {
		image []byte
		err   string
		floor int64
	}{
		"2.10":           {header(0x20a, 16<<20, 4<<20), "", 20 << 20},
		"2.09":           {header(0x209, 16<<20, 4<<20), "", 0},
		"absurd address": {header(0x20f, 1<<63, 4<<20), "", 0},
		"2.01":           {header(0x201, 0, 0), "boot protocol 2.01 is older than 2.02", 0},
		"ELF":            {append([]byte("\x7fELF"), make([]byte, 4096)...), "", 0},
		"short":          {[]byte("HdrS"), "neither a bzImage nor ELF", 0},
		"empty":          {nil, "neither a bzImage nor ELF", 0},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkKernel(bytes.NewReader(c.image))
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("checkKernel: %v, want %q", err, c.err)
			}
			if got := kernelFloor(bytes.NewReader(c.image)); err == nil && got != c.floor {
				t.Errorf("kernelFloor = %d, want %d", got, c.floor)
			}
		})
	}
}

func FuzzKernelHeader(f *testing.F) {
	f.Add(fakeKernel())
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, image []byte) {
		r := bytes.NewReader(image)
		_ = checkKernel(r)
		if floor := kernelFloor(r); floor < 0 {
			t.Errorf("kernelFloor = %d", floor)
		}
	})
}
