# make help tells what there is; HACKING.md tells when to use what.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-builtin-rules
.DEFAULT_GOAL := build

# sudo may drop the PATH that go is on.
export PATH := $(PATH):/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin

# PREFIX is /usr because dbus-daemon, polkit, dracut and initramfs-tools look nowhere else for what is installed here.
PREFIX  ?= /usr
DESTDIR ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION   := v1.9.0
NFPM_VERSION          := v2.45.0

commands := impermanence impermanenced impermanence-initrd
scripts  := .ci/run test/install-packages $(wildcard test/*.sh) $(shell grep -rlE '^\#!/(usr/)?bin/(env )?(ba)?sh' systemd-units)
go_flags := -buildvcs=false -trimpath

.PHONY: help
help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

.PHONY: build
build: $(addprefix bin/,$(commands)) ## The three static binaries, in bin/

# The Go tool knows best what is up to date.
.PHONY: $(addprefix bin/,$(commands))
$(addprefix bin/,$(commands)): bin/%:
	CGO_ENABLED=0 go build $(go_flags) -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/$*

.PHONY: demo
demo: build ## The whole story on a disk image made for it; needs root
	@$(call root,demo)
	@test/install-packages demo
	@test/demo.sh

.PHONY: docs
docs: build ## README.md's transcript, from what the demo prints; needs root
	@$(call root,docs)
	@test/install-packages demo
	go test ./test -run TestDemoTellsTheStory -update

.PHONY: test
test: build ## Every test; needs root; a skipped test fails it
	@$(call root,test)
	@test/install-packages test
	go run $(go_flags) ./test/run $(go_flags) -timeout 80m $(TESTFLAGS) ./...

# What each machine printed is kept there.
export IMPERMANENCE_TEST_ARTIFACTS ?= $(CURDIR)/bin/boots

.PHONY: test-boot
test-boot: build ## The part of test that starts machines: each Debian and initrd, each feature once; needs root
	@$(call root,test-boot)
	@test/install-packages test
	go run $(go_flags) ./test/run $(go_flags) -timeout 80m $(TESTFLAGS) ./test/boot

.PHONY: test-boot-full
test-boot-full: export IMPERMANENCE_TEST_BOOT_FULL = yes
test-boot-full: export IMPERMANENCE_POWERCUT_SAMPLES = 300
test-boot-full: build ## Each feature on each Debian and initrd, power cuts at 300 instants; hours; needs root
	@$(call root,test-boot-full)
	@test/install-packages test
	go run $(go_flags) ./test/run $(go_flags) -timeout 8h $(TESTFLAGS) ./test/boot

.PHONY: bench
bench: build ## Ours, the peers and the limit side by side; needs root, BENCHFLAGS='-rows prune -full'
	@$(call root,bench)
	@test/install-packages bench
	go test $(go_flags) -run '^$$' -bench . -benchmem ./...
	go build $(go_flags) -o bin/bench ./test/bench
	unshare --mount --propagation private bin/bench $(BENCHFLAGS)

.PHONY: lint
lint: bin/tools/golangci-lint-$(GOLANGCI_LINT_VERSION) ## golangci-lint with .golangci.yml, shellcheck on every script
	@test/install-packages lint
	$< run ./...
	shellcheck $(scripts)

.PHONY: fmt
fmt: bin/tools/golangci-lint-$(GOLANGCI_LINT_VERSION) ## gofumpt and goimports
	$< fmt ./...

.PHONY: vendor-hash
vendor-hash: ## Write the hash of the modules that Nix vendors into its package
	rm -rf bin/vendor
	go mod vendor -o bin/vendor
	hash=$$(nix-hash --type sha256 bin/vendor) && \
	sed -i "s,vendorHash = .*,vendorHash = \"sha256-$$(printf %b "$$(sed 's/../\\x&/g' <<<"$$hash")" | base64)\";," $(units)/nixos/package.nix

.PHONY: vulncheck
vulncheck: bin/tools/govulncheck-$(GOVULNCHECK_VERSION) ## Known holes in what is linked in; asks the Go vulnerability database
	$< ./...

# A tool keeps its version in its name, so that a new version is a new file. Two runs of make may want it at a time, as tests do.
tool = new=$(CURDIR)/bin/tools/$$$$; GOBIN=$$new go install $(1)@$(2); mv "$$new/$(notdir $(1))" $@; rmdir "$$new"

bin/tools/golangci-lint-%:
	$(call tool,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$*)

bin/tools/govulncheck-%:
	$(call tool,golang.org/x/vuln/cmd/govulncheck,$*)

bin/tools/nfpm-%:
	$(call tool,github.com/goreleaser/nfpm/v2/cmd/nfpm,$*)

# What goes where: mode, file, folder. A file that another part of the tree brings along is found by its pattern.
units    := systemd-units
manpages := $(wildcard $(units)/man/*.[1-8] cmd/*/*.[1-8] dbus/*.[1-8])
define payload
755 bin/impermanence                                  bin
755 bin/impermanenced                                 lib/impermanence
755 bin/impermanence-initrd                           lib/impermanence
$(foreach f,$(wildcard $(units)/system/*.service $(units)/system/*.timer $(units)/initrd/*.service),
644 $(f) lib/systemd/system)
755 $(units)/user/impermanence-losses                lib/impermanence
$(foreach f,$(wildcard $(units)/user/*.service $(units)/user/*.timer),
644 $(f) lib/systemd/user)
644 $(units)/system/systemd-machine-id-commit.service.d/impermanence.conf lib/systemd/system/systemd-machine-id-commit.service.d
644 $(units)/initrd/initrd-parse-etc.service.d/impermanence.conf lib/systemd/system/initrd-parse-etc.service.d
644 $(units)/system/90-impermanence.preset            lib/systemd/system-preset
644 $(units)/system/impermanence.conf                 lib/tmpfiles.d
644 $(units)/dbus/org.impermanence1.service           share/dbus-1/system-services
644 $(units)/org.impermanence1.conf                   share/dbus-1/system.d
644 $(units)/org.impermanence1.policy                 share/polkit-1/actions
$(foreach f,$(wildcard dbus/org.impermanence1.*.xml),
644 $(f) share/dbus-1/interfaces)
755 $(units)/dracut/90impermanence/module-setup.sh    lib/dracut/modules.d/90impermanence
755 $(units)/initramfs-tools/hooks/impermanence       share/initramfs-tools/hooks
755 $(units)/initramfs-tools/scripts/local-premount/impermanence share/initramfs-tools/scripts/local-premount
755 $(units)/initramfs-tools/scripts/local-bottom/impermanence share/initramfs-tools/scripts/local-bottom
644 $(units)/mkinitcpio/install/impermanence          lib/initcpio/install
644 $(units)/mkinitcpio/install/sd-impermanence       lib/initcpio/install
644 $(units)/mkinitcpio/hooks/impermanence            lib/initcpio/hooks
$(foreach f,$(wildcard $(units)/presets/*.toml),
644 $(f) lib/impermanence/presets)
$(foreach f,$(wildcard $(units)/cockpit/*),
644 $(f) share/cockpit/impermanence)
644 $(units)/ignore                                   lib/impermanence
644 cmd/impermanence/impermanence.schema.json         share/impermanence
644 bin/completion/impermanence                       share/bash-completion/completions
644 bin/completion/_impermanence                      share/zsh/site-functions
644 bin/completion/impermanence.fish                  share/fish/vendor_completions.d
$(foreach f,$(manpages),
644 $(f) share/man/man$(patsubst .%,%,$(suffix $(f))))
644 daemon/config/reference.toml                      share/doc/impermanence
644 README.md                                         share/doc/impermanence
$(foreach f,$(wildcard $(units)/doc/*.md),
644 $(f) share/doc/impermanence)
644 CHANGELOG.md                                      share/doc/impermanence
644 LICENSE                                           share/doc/impermanence
endef
export payload

# The shell that a completion is for is known by the name that it looks for.
completions := bin/completion/impermanence bin/completion/_impermanence bin/completion/impermanence.fish
$(completions): bin/impermanence
	@mkdir -p bin/completion
	bin/impermanence completion $(or $(if $(filter %.fish,$@),fish),$(if $(filter %/_impermanence,$@),zsh),bash) >$@.$$$$ && mv $@.$$$$ $@

.PHONY: install
install: build $(completions) ## Into $(DESTDIR)$(PREFIX); see systemd-units/README.md
	@while read -r mode file folder; do \
		[ -n "$$mode" ] || continue; \
		install -D -m "$$mode" -t '$(DESTDIR)$(PREFIX)'/"$$folder" "$$file"; \
		case $(PREFIX):$$file in \
		/usr:* | *:bin/*) ;; \
		*) sed -i 's,/usr/\(s\?bin\|lib\)/impermanence,$(PREFIX)/\1/impermanence,g' '$(DESTDIR)$(PREFIX)'/"$$folder/$${file##*/}" ;; \
		esac; \
	done <<<"$$payload"

.PHONY: uninstall
uninstall: ## Take out of $(DESTDIR)$(PREFIX) what install puts there
	@while read -r mode file folder; do \
		[ -z "$$mode" ] || rm -f '$(DESTDIR)$(PREFIX)'/"$$folder/$${file##*/}"; \
	done <<<"$$payload"

PACKAGES ?= bin/packages

.PHONY: packages
packages: build $(completions) bin/tools/nfpm-$(NFPM_VERSION) ## .deb, .rpm and .pkg.tar.zst of what install puts there, in bin/packages/
	rm -rf '$(PACKAGES)'
	@$(MAKE) --no-print-directory install DESTDIR='$(PACKAGES)/root' PREFIX=/usr
	$(units)/packages/build bin/tools/nfpm-$(NFPM_VERSION) '$(PACKAGES)/root' '$(PACKAGES)' '$(VERSION)'

.PHONY: clean
clean: ## Remove bin/
	rm -rf bin

# Loop devices, mounts and the trusted.* attributes are root's.
root = [ "$$(id -u)" -eq 0 ] || { echo 'error: needs root for loop devices and mounts: sudo make $(1)' >&2; exit 1; }
