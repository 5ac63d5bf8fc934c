package initrd

import (
	"fmt"
	"path"
	"strings"

	"github.com/runv-legacy/runv-legacy/initrd/internal/guestbuild"
)

// programsBinary is the one binary behind all the links.
const programsBinary = "bin/bb"

// packPrograms makes the archive of the small programs: the binary, a link for
// each command, and the few files that they read.
func packPrograms(checkout string, binary []byte) ([]byte, error) {
	commands, err := guestbuild.Commands(checkout)
	if err != nil {
		return nil, err
	}
	entries := []Entry{
		File(programsBinary, 0o755, binary),
		File("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")),
		File("etc/group", 0o644, []byte("root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")),
		File("etc/hosts", 0o644, []byte("127.0.0.1 localhost\n::1 localhost\n")),
		File("etc/profile", 0o644, []byte("export PATH=/usr/sbin:/usr/bin:/sbin:/bin\nexport HOME=/root\n")),
	}
	for _, c := range commands {
		for _, link := range c.Links {
			entries = append(entries, Symlink(link, linkTarget(link)))
		}
	}
	data, err := Compress(entries)
	if err != nil {
		return nil, fmt.Errorf("pack programs: %w", err)
	}
	return data, nil
}

// linkTarget is the way from a link to the binary, relative so that it also
// holds where the archive is unpacked below another root.
func linkTarget(link string) string {
	if path.Dir(link) == path.Dir(programsBinary) {
		return path.Base(programsBinary)
	}
	return strings.Repeat("../", strings.Count(link, "/")) + programsBinary
}
