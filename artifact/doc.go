// Package artifact is the guest image's format: one OCI artifact that holds a
// kernel, an initrd and what is needed to boot them, the local store that the
// builder and the runtime share, and the transport to and from a registry.
//
// The format is specified in docs/artifact-format.md. It follows the OCI image
// specification v1.1.1 (https://github.com/opencontainers/image-spec/tree/v1.1.1)
// and the distribution specification v1.1.1.
//
// Everything that is read, from the store as well as from a registry, is
// treated as made by a stranger: sizes and counts are bounded, digests, media
// types and names are checked, and nothing is used before it is verified.
package artifact
