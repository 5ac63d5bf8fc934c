# make demo    build a guest image, boot it, compare its kernel with the host's
# make test    all tests, as CI runs them
# Both install what they need on a Debian 12 (as root); see hack/setup.

PROFILE ?= 2.6.32
SOURCE  ?=
VERSION ?= 0.1.0-dev
PREFIX  ?= /usr/local

# Looked up when a recipe runs: hack/setup may only just have installed it.
GO       = $$(hack/find-go)
LDFLAGS  = -s -w -buildid= -X github.com/runv-legacy/runv-legacy/cmd/kbuild/command.Version=$(VERSION)
GOBUILD  = CGO_ENABLED=0 "$(GO)" build -trimpath -buildvcs=false
TESTTIME = 80m

.PHONY: all build demo test check vet unit guest-test fuzz bench setup setup-test install clean

all: build

setup:
	@hack/setup build

setup-test:
	@hack/setup test

# guestinit and the programs of `kbuild boot` are built with Go 1.23 and embedded.
build: setup
	@"$(GO)" run ./initrd/internal/embed
	@mkdir -p bin
	@$(GOBUILD) -ldflags '$(LDFLAGS)' -o bin/kbuild ./cmd/kbuild

demo: build
	@hack/demo '$(PROFILE)' '$(SOURCE)'

test: setup-test build check
	@hack/test $(TESTTIME)

# Formatting, vet and staticcheck over every module.
check:
	@hack/check

# Each fuzz target for a short while; FUZZTIME=10m to look harder.
FUZZTIME ?= 20s
fuzz:
	@hack/fuzz '$(FUZZTIME)'

# Figures of docs/performance.md.
bench: build
	@"$(GO)" test -run '^$$' -bench . -benchtime 1x -timeout $(TESTTIME) ./...

install: build
	install -D -m 0755 bin/kbuild $(DESTDIR)$(PREFIX)/bin/kbuild
	bin/kbuild man $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	bin/kbuild completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/kbuild

clean:
	rm -rf bin dist
	find initrd/embedded -type f ! -name README.md -delete
