#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
flowd for arm64 on another machine: builds it (build/arm64), runs the unit tests in an emulator of
programs, and in an emulated machine with Debian's arm64 kernel and two processors the BPF tests and
some of the end-to-end tests.

    arm64.py [--build] [--save DIR] [KERNEL]    (default: 6.1)

--build: build only; the tests are then for test/vm/vm --arm64. What is emulated on amd64 keeps most of
that processor's strict order of loads and stores: that arm64's own may be another one,
unit/marker_interleavings tries and not this.
"""

import argparse
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

import foreign
import kernels
import machine
from architecture import ARM64
from arm64_inside import UNIT
from cache import HERE, TREE, VmError

BUILD = TREE / "build/arm64"
PROGRAMS = ("cmake", "ninja", "aarch64-linux-gnu-gcc", "qemu-aarch64", "clang", "bpftool")
# It damages a file in thousands of ways, which takes too long here.
LEFT_OUT = ("state_damage",)
_UNIT_TIMEOUT_S = "300"
_TIMEOUT_S = 1500


def show(argv, **options):
    """Runs a program; its output goes on to ours. Returns its status."""
    print(f"== {' '.join(map(str, argv))}", flush=True)
    return subprocess.run([str(one) for one in argv], check=False, **options).returncode


def build():
    """Configures and builds; True: it did."""
    environment = {**os.environ, "FLOWD_SYSROOT": str(foreign.sysroot(ARM64))}
    began = time.monotonic()
    for argv in (["cmake", "--preset", "arm64"],
                 ["cmake", "--build", "--preset", "arm64", "--parallel", os.environ.get("JOBS", str(os.cpu_count()))]):
        if show(argv, cwd=TREE, env=environment, stdout=subprocess.DEVNULL) != 0:
            return False
    print(f"arm64: built in {time.monotonic() - began:.0f} s", flush=True)
    return True


def unit_tests():
    """Runs the unit tests; returns what is wrong."""
    began = time.monotonic()
    others = "|".join([*UNIT, *LEFT_OUT])
    out = subprocess.run(
        ["ctest", "--test-dir", str(BUILD), "-L", "^unit$", "-E", f"^unit/({others})$", "-j", str(os.cpu_count()),
         "--timeout", _UNIT_TIMEOUT_S, "--output-on-failure", "--no-tests=error"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    count = re.search(r"tests passed, \d+ tests failed out of (\d+)", out.stdout)
    print(f"arm64: unit tests: {count.group(0) if count else 'no count'}, {time.monotonic() - began:.0f} s", flush=True)
    if out.returncode == 0 and count:
        return []
    print(out.stdout[-6000:])
    return ["unit tests"]


def in_machine(line, share):
    """Runs arm64_inside.py in a machine; returns what is wrong."""
    share.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    command = (f"/usr/bin/python3 -u {shlex.quote(str(HERE / 'arm64_inside.py'))} >/share/output 2>&1")
    kernel = kernels.fetch(line, ARM64)
    print(f"== kernel {kernel.version}, arm64", flush=True)
    try:
        status = machine.boot(kernel, command, share, timeout_s=_TIMEOUT_S)
    finally:
        if (share / "output").exists():
            print((share / "output").read_text(encoding="utf-8", errors="replace"))
        print(f"arm64: machine: {time.monotonic() - began:.0f} s", flush=True)
    return [] if status == 0 else ["tests in the machine"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernel", nargs="?", default="6.1")
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--save", type=pathlib.Path, help="keep what the machine said in this directory")
    arguments = parser.parse_args()
    missing = machine.missing_programs(ARM64) + machine.not_found(PROGRAMS)
    if missing:
        print(f"this needs {', '.join(missing)} (packaging/dependencies/install arm64)")
        return 1
    if not build():
        print("arm64: does not build")
        return 1
    if arguments.build:
        return 0
    wrong = unit_tests()
    with tempfile.TemporaryDirectory(prefix="flowd-arm64-") as temporary:
        wrong += in_machine(arguments.kernel, arguments.save or pathlib.Path(temporary))
    print(f"arm64: {'FAILED: ' + ', '.join(wrong) if wrong else 'passed'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VmError as error:
        print(f"arm64: {error}", file=sys.stderr)
        sys.exit(1)
