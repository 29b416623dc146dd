# Voxloop. `make run` serves a demo, `make test` checks everything, `make help` lists the rest.
# Nothing here installs anything outside this folder and the user's cache, except test-deps (which says so).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

GO      ?= go
PKG     := github.com/voxloop/voxloop
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X $(PKG)/internal/cli.version=$(VERSION) -X $(PKG)/internal/cli.commit=$(COMMIT)
BIN     := bin/voxloop
TOOLS   := $(CURDIR)/.tools

# Pinned tools, built from source by `go install`.
GOLANGCI_VERSION    := v2.15.0
GOFUMPT_VERSION     := v0.12.0
STATICCHECK_VERSION := v0.8.2

# Packages with goroutines of their own: tested a second time with the race detector.
RACE := server apps datastore strategies infer trainers internal/jobs internal/ort internal/cli \
        internal/imaging/augment internal/imaging/harmonize internal/imaging/metrics internal/imaging/morph internal/imaging/transform
FUZZTIME ?= 5s
SOAK_FUZZTIME ?= 10m
TEST_TIMEOUT ?= 20m

# Independent programs and modules that tests cross-check our files with.
TEST_DEPS := python3 python3-numpy python3-nibabel python3-requests teem-apps plastimatch

# make run: other flags of `voxloop serve`, for example ARGS='--port 9000 --device cpu'.
ARGS ?=

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: build
build: ## Build bin/voxloop
	CGO_ENABLED=1 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) .

.PHONY: run
run: build ## Serve STUDIES=dir, or a demo folder of phantoms
ifdef STUDIES
	$(BIN) serve --app radiology --studies '$(STUDIES)' --host 127.0.0.1 $(ARGS)
else
	@test -e demo/phantom_0001.nii.gz || $(BIN) phantom --out demo --n 12 --seed 1
	$(BIN) serve --app radiology --studies demo --host 127.0.0.1 $(ARGS)
endif

.PHONY: demo
demo: runtime ## Show the loop on synthetic images; with CI=true or no terminal it ends by itself
	$(BIN) demo

.PHONY: runtime
runtime: build ## Install ONNX Runtime into the user's cache folder
	$(BIN) runtime install

.PHONY: test
test: test-unit test-race test-fuzz test-e2e ## Everything: unit, golden, race, fuzz, end to end

.PHONY: test-unit
test-unit: runtime ## Unit and golden tests
	$(GO) test -timeout $(TEST_TIMEOUT) $$($(GO) list ./... | grep -v '/internal/e2e$$')

.PHONY: test-race
test-race: runtime ## The concurrent packages under the race detector
	$(GO) test -race -short -timeout $(TEST_TIMEOUT) $(foreach p,$(RACE),./$(p)/...)

.PHONY: test-fuzz
test-fuzz: ## Every fuzz target for FUZZTIME each
	@grep -rlE --exclude-dir=.tools --exclude-dir=.git --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+\(' . | sort | while read -r file; do \
	  for name in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$$file"); do \
	    $(GO) test -timeout 0 -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "./$$(dirname "$$file")" </dev/null; \
	  done; \
	done

.PHONY: test-e2e
test-e2e: runtime ## The built binary, as clients use it
	VOXLOOP_BIN='$(CURDIR)/$(BIN)' $(GO) test -count=1 -timeout $(TEST_TIMEOUT) ./internal/e2e/...

.PHONY: soak
soak: runtime ## Kills, swaps under load, trainings and choices, many times over; every fuzz target for 10 minutes
	VOXLOOP_BIN='$(CURDIR)/$(BIN)' VOXLOOP_KILLS=200 VOXLOOP_TRAININGS=20 VOXLOOP_SWAP_KILLS=100 VOXLOOP_LOOP_KILLS=100 \
	  $(GO) test -count=1 -v -timeout 120m -run 'Kill|TrainingsGive' ./internal/e2e/... ./datastore/local
	VOXLOOP_BIN='$(CURDIR)/$(BIN)' VOXLOOP_SWAPS=200 VOXLOOP_SWAP_PAUSE=5000 $(GO) test -count=1 -v -timeout 60m -run SwapsUnderLoad ./internal/e2e
	VOXLOOP_INDEX_CHECKS=20000 VOXLOOP_INDEX_FAST=1 $(GO) test -count=1 -v -timeout 30m -run 'Properties|Hostile|NextIsFast' ./strategies
	VOXLOOP_SELECTION_IMAGES=100000 $(GO) test -count=1 -v -timeout 30m -run NextBeside ./apps
	$(MAKE) test-fuzz FUZZTIME=$(SOAK_FUZZTIME)

.PHONY: bench
bench: runtime ## Measure beside the reference server into docs/benchmarks.md (about 8 GB of Python the first time)
	$(GO) run ./internal/bench -bin '$(BIN)' -work .tools/bench

.PHONY: lint
lint: tools ## go vet, gofumpt, staticcheck, golangci-lint
	$(GO) vet ./...
	@files=$$(git ls-files -co --exclude-standard -- '*.go' | while read -r f; do [ ! -f "$$f" ] || echo "$$f"; done); \
	  bad=$$($(TOOLS)/bin/gofumpt -l $$files); \
	  if [ -n "$$bad" ]; then echo "not formatted (run make fmt):"; echo "$$bad"; exit 1; fi
	$(TOOLS)/bin/staticcheck ./...
	$(TOOLS)/bin/golangci-lint run ./...

.PHONY: fmt
fmt: tools ## Format all Go files
	$(TOOLS)/bin/gofumpt -w $$(git ls-files -- '*.go')

.PHONY: tools
tools: $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION) $(TOOLS)/gofumpt-$(GOFUMPT_VERSION) $(TOOLS)/staticcheck-$(STATICCHECK_VERSION)

# GOFLAGS is cleared: a -mod flag of the caller is not meant for another module's build.
INSTALL = mkdir -p $(TOOLS)/bin && GOFLAGS= GOBIN=$(TOOLS)/bin $(GO) install

$(TOOLS)/golangci-lint-$(GOLANGCI_VERSION):
	$(INSTALL) github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	touch $@

$(TOOLS)/gofumpt-$(GOFUMPT_VERSION):
	$(INSTALL) mvdan.cc/gofumpt@$(GOFUMPT_VERSION)
	touch $@

$(TOOLS)/staticcheck-$(STATICCHECK_VERSION):
	$(INSTALL) honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	touch $@

.PHONY: test-deps
test-deps: ## Install what tests cross-check with (Debian packages, needs root)
	@if dpkg -s $(TEST_DEPS) >/dev/null 2>&1; then echo 'test-deps: all installed'; exit 0; fi; \
	  if ! command -v apt-get >/dev/null; then \
	    echo 'test-deps: no apt-get here; install the equivalents of: $(TEST_DEPS)' >&2; exit 1; fi; \
	  if [ "$$(id -u)" != 0 ]; then \
	    echo 'test-deps: run as root: apt-get install $(TEST_DEPS)' >&2; exit 1; fi; \
	  apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(TEST_DEPS)

.PHONY: clean
clean: ## Remove what was built and the demo; the runtime cache stays
	rm -rf bin demo
