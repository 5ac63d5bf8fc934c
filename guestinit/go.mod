module github.com/runv-legacy/runv-legacy/guestinit

go 1.23

toolchain go1.23.12
