# The two commands are `make run` and `make test`; the rest is what they are made of.
#
# Builds go to build/ (what users run), build/dev (with sanitizers) and build/clang.

MAKEFLAGS += --no-print-directory
PYTHON := /usr/bin/python3
PRESET ?= $(if $(CI),ci,release)
ROOT := $(filter 0,$(shell id -u))
# Sanitizer builds and tests are kept to the cores that there are.
JOBS ?= $(shell nproc)

.PHONY: help deps deps-test build build-dev build-clang run test test-unit test-bpf test-e2e bench lint format clean

help:
	@echo "make run      install what is needed, build, and start flowd in the foreground"
	@echo "make test     install what is needed, build, and run every test"
	@echo "make build    build/bin/flowd and build/bin/flowctl"
	@echo "make bench    measure, and compare with what is to be reached"
	@echo "make lint     format, static analysis, and rules of the house"
	@echo "make deps     install what building needs (as root, on Debian)"

deps:
	@packaging/dependencies/install build

deps-test:
	@packaging/dependencies/install test

build:
	@cmake --preset $(PRESET) >build.log 2>&1 || { cat build.log; rm -f build.log; exit 1; }
	@rm -f build.log
	@cmake --build --preset $(PRESET) --parallel $(JOBS)

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

test:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@$(MAKE) build build-dev build-clang
	@test/lint/run
	@$(MAKE) test-unit test-bpf test-e2e
	@$(if $(ROOT),,echo "Not root: the tests that need root were left out (see above)." && exit 1)

test-unit:
	@test/run unit

test-bpf:
	@test/run bpf

test-e2e:
	@test/run e2e

bench:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@$(MAKE) build
	@$(PYTHON) test/bench/run.py --bin build/bin

lint:
	@packaging/dependencies/install test || echo "Going on with what is there."
	@$(MAKE) build-dev
	@test/lint/run

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	@rm -rf build
