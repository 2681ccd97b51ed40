# SPDX-License-Identifier: Apache-2.0
# The two commands are `make run` and `make test`; the rest is what they are made of.
#
# Builds go to build/ (what users run), build/dev (with sanitizers) and build/clang.

MAKEFLAGS += --no-print-directory
PYTHON := /usr/bin/python3
# What users run is built without the tests and what they need; with them it lies in the same directory.
PRESET ?= release
TEST_PRESET ?= $(if $(CI),ci,test)
ROOT := $(filter 0,$(shell id -u))
# Sanitizer builds and tests are kept to the cores that there are.
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60

.PHONY: help deps deps-test deps-fresh build build-test build-dev build-clang run \
	check test test-unit test-bpf test-e2e test-fresh test-debian test-kernels test-systemd test-arm64 test-deploy test-rpm rpm test-static test-image static image test-deb deb fuzz bench lint format clean

help:
	@echo "make run          install what is needed, build, and start flowd in the foreground"
	@echo "make test         install what is needed, build, and run every test of this machine"
	@echo
	@echo "make build        build/bin/flowd and build/bin/flowctl: what users run"
	@echo "make build-test   the same and, beside it, its tests and benchmarks"
	@echo "make build-dev    build/dev: with AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make build-clang  build/clang: by clang"
	@echo "make check        lint and unit tests: what each change wants, in a minute"
	@echo "make lint         format, static analysis, and rules of the house"
	@echo "make test-unit    each part of make test by itself, with what is built already:"
	@echo "make test-bpf     docs/testing.md says how to run a single test"
	@echo "make test-e2e"
	@echo "make test-fresh   what README.md says, on a bare Debian 12 of its own (root, network; SUITE=trixie: on Debian 13)"
	@echo "make test-debian  make test on such a system (root, network; SUITE=trixie)"
	@echo "make test-kernels flowd on Debian's kernels, in virtual machines (root, network; KERNELS=\"5.10 6.1\" picks)"
	@echo "make test-systemd flowd under systemd, on a Debian 12 that boots in a virtual machine (root, network)"
	@echo "make test-deb     the Debian package: built, installed, upgraded and removed (root, network)"
	@echo "make test-rpm     the RPM packages and the SELinux module, with Debian's rpm and policy (root, network)"
	@echo "make static       build/static/bin: one file each, without shared libraries (Debian, network)"
	@echo "make image        build/static/flowd-image.tar: an OCI image of them, without an engine"
	@echo "make test-static  the same, tried in an empty root directory and in the smallest machine (root, network)"
	@echo "make test-image   the image in Podman, and the Dockerfile, whose image is the same (root, network)"
	@echo "make test-deploy  rules for Prometheus, manifests and charts, workflows (root, network)"
	@echo "make test-arm64   flowd for arm64: built here, tested in emulators and a virtual machine (root, network)"
	@echo "make fuzz         run each fuzz target for a minute (FUZZ_SECONDS)"
	@echo "make bench        measure, and compare with what is to be reached"
	@echo "make format       format the C sources"
	@echo "make deb          Debian packages of this tree, in build/deb (docs/packages.md)"
	@echo "make rpm          RPM packages of the commit that is checked out (docs/packages.md)"
	@echo "make deps         install what building needs (as root, on Debian)"
	@echo "make deps-test    install what the tests need; make deps-fresh: what make test-fresh needs"
	@echo "make clean        remove build/"

deps:
	@packaging/dependencies/install build

deps-test:
	@packaging/dependencies/install test

deps-fresh:
	@packaging/dependencies/install fresh

build:
	@cmake --preset $(PRESET) >build.log 2>&1 || { cat build.log; rm -f build.log; exit 1; }
	@rm -f build.log
	@cmake --build --preset $(PRESET) --parallel $(JOBS)

build-test:
	@$(MAKE) build PRESET=$(TEST_PRESET)

build-dev:
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev --parallel $(JOBS)

build-clang:
	@cmake --preset clang >/dev/null
	@cmake --build --preset clang --parallel $(JOBS)

run:
	@packaging/dependencies/install build || echo "Going on with what is there."
	@$(MAKE) build
	@packaging/examples/quickstart

# Without what make test and make lint install, so that it is quick.
check:
	@$(MAKE) build-dev
	@test/lint/run
	@test/run unit

test:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@$(MAKE) build-test build-dev build-clang
	@test/lint/run
	@$(MAKE) test-unit test-bpf test-e2e
	@$(if $(ROOT),,echo "Not root: the tests that need root were left out (see above)." && exit 1)

test-unit:
	@test/run unit

test-bpf:
	@test/run bpf

test-e2e:
	@test/run e2e

# SUITE, in the environment of these two, is the release of Debian; TARGETS="build-test test-bpf" picks.
test-fresh:
	@packaging/dependencies/install fresh || echo "Going on with what is there."
	@test/fresh/run walk

test-debian:
	@packaging/dependencies/install fresh || echo "Going on with what is there."
	@test/fresh/run tests $(TARGETS)

# KERNELS="5.10 6.1" picks some of the manual's table.
test-kernels:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@packaging/dependencies/install vm || echo "Going on with what is there."
	@$(MAKE) build-test build-dev
	@test/vm/matrix.py $(KERNELS)

test-systemd:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@packaging/dependencies/install vm || echo "Going on with what is there."
	@$(MAKE) build-test
	@test/vm/systemd.py

test-rpm:
	@packaging/dependencies/install rpm || echo "Going on with what is there."
	@test/rpm/run

rpm:
	@packaging/rpm/build

test-deb:
	@packaging/dependencies/install deb || echo "Going on with what is there."
	@packaging/dependencies/install fresh || echo "Going on with what is there."
	@packaging/dependencies/install vm || echo "Going on with what is there."
	@$(MAKE) deb
	@test/deb/run

deb:
	@packaging/build-deb

# libcurl is built of Debian's source package: docs/building.md says why.
static:
	@packaging/dependencies/install static || echo "Going on with what is there."
	@packaging/static/libcurl build/static/libcurl
	@$(MAKE) build PRESET=static

image: static
	@rm -rf build/static/rootfs
	@packaging/container/rootfs build/static build/static/rootfs
	@packaging/container/image build/static/rootfs build/static/flowd-image.tar
	@echo "build/static/flowd-image.tar: podman load -i, or skopeo copy oci-archive:..."

test-static:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@packaging/dependencies/install vm || echo "Going on with what is there."
	@packaging/dependencies/install image || echo "Going on with what is there."
	@$(MAKE) image
	@FLOWD_BIN_DIR="$$PWD/build/static/bin" test/static/run

test-image:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@packaging/dependencies/install fresh || echo "Going on with what is there."
	@packaging/dependencies/install image || echo "Going on with what is there."
	@$(MAKE) image
	@FLOWD_BIN_DIR="$$PWD/build/static/bin" $(PYTHON) -m pytest -q test/image
	@test/image/dockerfile

test-deploy:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@packaging/dependencies/install deploy || echo "Going on with what is there."
	@$(MAKE) build-test
	@FLOWD_BIN_DIR="$$PWD/build/bin" $(PYTHON) -m pytest -q test/deploy

# KERNELS="6.12-16k" picks some; WHOLE=1: all cases, which takes hours.
test-arm64:
	@packaging/dependencies/install arm64 || echo "Going on with what is there."
	@test/vm/arm64.py $(if $(WHOLE),--whole) $(KERNELS)

# FUZZ_SECONDS for each target.
fuzz:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz --parallel $(JOBS) --target fuzzers
	@FUZZ_SECONDS=$(FUZZ_SECONDS) test/fuzz/run

bench:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@$(MAKE) build-test
	@$(PYTHON) test/bench/run.py --bin build/bin

lint:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@$(MAKE) build-dev
	@test/lint/run

format:
	@git ls-files --cached --others --exclude-standard '*.c' '*.h' | xargs clang-format -i

clean:
	@rm -rf build
