// Package registrytest gives tests a registry: Start runs Debian's
// docker-registry on loopback, NewMemory serves one from memory that can be made
// to fail.
package registrytest
