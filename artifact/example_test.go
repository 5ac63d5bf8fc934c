package artifact_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/runv-legacy/runv-legacy/artifact"
)

// exampleImage is small, so that its digests can be printed in the documentation.
func exampleImage() (artifact.Image, artifact.AddOptions) {
	source := artifact.Source{
		URL:          "https://cdn.kernel.org/pub/linux/kernel/v2.6/longterm/v2.6.32/linux-2.6.32.71.tar.xz",
		Digest:       "sha256:60a5ffe0206a0ea8997c29ccc595aa7dae55f6cb20c7d92aab88029ca4fef598",
		Verification: "sha256",
	}
	patch := []byte("an example patch\n")
	acpi := true
	image := artifact.Image{
		Guest: artifact.Guest{
			Kernel: artifact.KernelInfo{Version: "2.6.32.71", Release: "2.6.32.71-runv"},
			OS:     "linux", Architecture: "amd64", Profile: "2.6.32",
			Features: []string{"9p", "virtio-console"},
			Boot:     artifact.Boot{Append: []string{"panic=-1"}, Console: "ttyS0"},
			Machine:  artifact.Machine{Type: "pc", Virtio: "legacy", ACPI: &acpi, MinMemoryMiB: 48, MaxVCPUs: 8},
			Provenance: artifact.Provenance{
				Source:       source,
				Patches:      []artifact.Patch{{ID: "compiler-gcc", SHA256: digest.FromBytes(patch).Encoded(), Mainline: "cb984d101b30"}},
				BackportSets: []string{"toolchain"}, Compiler: "gcc (Debian 12.2.0-14) 12.2.0", KbuildVersion: "0.1.0",
			},
		},
		Kernel: artifact.Bytes([]byte("example kernel\n")), Initrd: artifact.Bytes([]byte("example initrd\n")),
		Config: artifact.Bytes([]byte("CONFIG_X86_64=y\n")), SystemMap: artifact.Bytes([]byte("ffffffff81000000 T _text\n")),
	}
	return image, artifact.AddOptions{
		Created: time.Unix(1457784000, 0), // SOURCE_DATE_EPOCH
		Source: &artifact.CorrespondingSource{
			TarballURL: source.URL, TarballSHA256: strings.TrimPrefix(source.Digest, "sha256:"),
			Patches: []artifact.SourceFile{{Name: "0001-compiler-gcc.patch", Data: patch}},
		},
	}
}

// The manifest, the config and the index of a guest image, as
// docs/artifact-format.md shows them.
func ExampleStore_Add() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := artifact.OpenStore(dir)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	image, opts := exampleImage()
	manifest, err := store.Add(ctx, image, "kernels:2.6.32", opts)
	if err != nil {
		log.Fatal(err)
	}
	in, err := store.Inspect(ctx, "kernels:2.6.32")
	if err != nil {
		log.Fatal(err)
	}
	show := func(d digest.Digest) {
		data, err := os.ReadFile(filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded()))
		if err != nil {
			log.Fatal(err)
		}
		var out bytes.Buffer
		if err := json.Indent(&out, data, "", "  "); err != nil {
			log.Fatal(err)
		}
		fmt.Println(out.String())
	}
	fmt.Println("manifest", manifest.Digest)
	show(manifest.Digest)
	fmt.Println("config", in.Images[0].Config.Digest)
	show(in.Images[0].Config.Digest)
	fmt.Println("index", in.Index.Digest)
	show(in.Index.Digest)
	for _, r := range in.Images[0].Referrers {
		fmt.Println("referrer", r.Manifest.Digest)
		show(r.Manifest.Digest)
	}
	// Output:
	// manifest sha256:34cda0c458be8d7b804bcc7a0b3d3c0851b477cc2d18ed4642b2eb9897103251
	// {
	//   "schemaVersion": 2,
	//   "mediaType": "application/vnd.oci.image.manifest.v1+json",
	//   "artifactType": "application/vnd.runv-legacy.guest.v1",
	//   "config": {
	//     "mediaType": "application/vnd.runv-legacy.guest.config.v1+json",
	//     "digest": "sha256:5c904dec8653f9ad36085bbc25a1da461f641b62c041b2cb194a9fbfbb632760",
	//     "size": 843
	//   },
	//   "layers": [
	//     {
	//       "mediaType": "application/vnd.runv-legacy.guest.kernel.v1",
	//       "digest": "sha256:ec350460ccc4c9f835f90947b7316c5f8af7cbcb11d8dc46946fb1f87db131d8",
	//       "size": 15,
	//       "annotations": {
	//         "org.opencontainers.image.title": "vmlinuz"
	//       }
	//     },
	//     {
	//       "mediaType": "application/vnd.runv-legacy.guest.initrd.v1",
	//       "digest": "sha256:5d46582940a067c0e10b3cd9b60b3b21888e5204c6449537e9e5be8bc91b3c66",
	//       "size": 15,
	//       "annotations": {
	//         "org.opencontainers.image.title": "initrd.img"
	//       }
	//     },
	//     {
	//       "mediaType": "application/vnd.runv-legacy.guest.kconfig.v1",
	//       "digest": "sha256:4c7d1e05f8069177220cb316864b10a11be1bc8ab37d38eb8828df094cf108a8",
	//       "size": 16,
	//       "annotations": {
	//         "org.opencontainers.image.title": "config"
	//       }
	//     },
	//     {
	//       "mediaType": "application/vnd.runv-legacy.guest.system-map.v1",
	//       "digest": "sha256:53139d6471ff580f7dd3081123651c4096ce394054075e26c54152d05b75268a",
	//       "size": 25,
	//       "annotations": {
	//         "org.opencontainers.image.title": "System.map"
	//       }
	//     }
	//   ],
	//   "annotations": {
	//     "org.opencontainers.image.created": "2016-03-12T12:00:00Z",
	//     "org.opencontainers.image.licenses": "GPL-2.0-only AND Apache-2.0",
	//     "org.opencontainers.image.source": "https://cdn.kernel.org/pub/linux/kernel/v2.6/longterm/v2.6.32/linux-2.6.32.71.tar.xz",
	//     "org.opencontainers.image.title": "Linux 2.6.32.71-runv guest",
	//     "org.opencontainers.image.version": "2.6.32.71"
	//   }
	// }
	// config sha256:5c904dec8653f9ad36085bbc25a1da461f641b62c041b2cb194a9fbfbb632760
	// {
	//   "schemaVersion": 1,
	//   "kernel": {
	//     "version": "2.6.32.71",
	//     "release": "2.6.32.71-runv"
	//   },
	//   "os": "linux",
	//   "architecture": "amd64",
	//   "profile": "2.6.32",
	//   "features": [
	//     "9p",
	//     "virtio-console"
	//   ],
	//   "boot": {
	//     "append": [
	//       "panic=-1"
	//     ],
	//     "console": "ttyS0"
	//   },
	//   "machine": {
	//     "type": "pc",
	//     "virtio": "legacy",
	//     "acpi": true,
	//     "minMemoryMiB": 48,
	//     "maxVCPUs": 8
	//   },
	//   "provenance": {
	//     "source": {
	//       "url": "https://cdn.kernel.org/pub/linux/kernel/v2.6/longterm/v2.6.32/linux-2.6.32.71.tar.xz",
	//       "digest": "sha256:60a5ffe0206a0ea8997c29ccc595aa7dae55f6cb20c7d92aab88029ca4fef598",
	//       "verification": "sha256"
	//     },
	//     "patches": [
	//       {
	//         "id": "compiler-gcc",
	//         "sha256": "e3fb74a94c527ee6674b25b9a7206ff25b3f441a2506f13072a142bae60ad66d",
	//         "mainline": "cb984d101b30"
	//       }
	//     ],
	//     "backportSets": [
	//       "toolchain"
	//     ],
	//     "compiler": "gcc (Debian 12.2.0-14) 12.2.0",
	//     "kbuildVersion": "0.1.0",
	//     "configSHA256": "4c7d1e05f8069177220cb316864b10a11be1bc8ab37d38eb8828df094cf108a8"
	//   }
	// }
	// index sha256:121cf3df517fb9137f7e65ede3452609d01fa9be8bec85c89eb251f847e251a9
	// {
	//   "schemaVersion": 2,
	//   "mediaType": "application/vnd.oci.image.index.v1+json",
	//   "manifests": [
	//     {
	//       "mediaType": "application/vnd.oci.image.manifest.v1+json",
	//       "digest": "sha256:34cda0c458be8d7b804bcc7a0b3d3c0851b477cc2d18ed4642b2eb9897103251",
	//       "size": 1537,
	//       "platform": {
	//         "architecture": "amd64",
	//         "os": "linux",
	//         "os.version": "2.6.32.71"
	//       }
	//     }
	//   ]
	// }
	// referrer sha256:c95a4c5351150e88ba6dc24e4a3b4d501e2c0de05876eb18c9e0fde370ea93cb
	// {
	//   "schemaVersion": 2,
	//   "mediaType": "application/vnd.oci.image.manifest.v1+json",
	//   "artifactType": "application/spdx+json",
	//   "config": {
	//     "mediaType": "application/vnd.oci.empty.v1+json",
	//     "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
	//     "size": 2
	//   },
	//   "layers": [
	//     {
	//       "mediaType": "application/spdx+json",
	//       "digest": "sha256:8d765f1e25db1eccd103ce85a35a86a8423b04efb3b7283b0e4797eadaed2fe3",
	//       "size": 4686,
	//       "annotations": {
	//         "org.opencontainers.image.title": "sbom.spdx.json"
	//       }
	//     }
	//   ],
	//   "subject": {
	//     "mediaType": "application/vnd.oci.image.manifest.v1+json",
	//     "digest": "sha256:34cda0c458be8d7b804bcc7a0b3d3c0851b477cc2d18ed4642b2eb9897103251",
	//     "size": 1537
	//   },
	//   "annotations": {
	//     "org.opencontainers.image.created": "2016-03-12T12:00:00Z"
	//   }
	// }
	// referrer sha256:7f7ae9cd309793b05d822f45bc0283826fdde15b1a4746445a961e993c0f33e9
	// {
	//   "schemaVersion": 2,
	//   "mediaType": "application/vnd.oci.image.manifest.v1+json",
	//   "artifactType": "application/vnd.runv-legacy.guest.source.v1",
	//   "config": {
	//     "mediaType": "application/vnd.oci.empty.v1+json",
	//     "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
	//     "size": 2
	//   },
	//   "layers": [
	//     {
	//       "mediaType": "application/vnd.runv-legacy.guest.source.v1.tar+gzip",
	//       "digest": "sha256:5ad5b992ca177dd2312aadbe597e5e08b53bcb5db26f8d8ecd5c12434975bc17",
	//       "size": 529,
	//       "annotations": {
	//         "org.opencontainers.image.title": "source.tar.gz"
	//       }
	//     }
	//   ],
	//   "subject": {
	//     "mediaType": "application/vnd.oci.image.manifest.v1+json",
	//     "digest": "sha256:34cda0c458be8d7b804bcc7a0b3d3c0851b477cc2d18ed4642b2eb9897103251",
	//     "size": 1537
	//   },
	//   "annotations": {
	//     "org.opencontainers.image.created": "2016-03-12T12:00:00Z"
	//   }
	// }
}
