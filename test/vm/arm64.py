#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
flowd for arm64 on another machine: builds it (build/arm64), runs the unit tests in an emulator of
programs, and the tests of arm64_inside.py in emulated machines with Debian's arm64 kernels and two
processors.

    arm64.py [--build] [--whole] [--save DIR] [KERNEL...]    (default: 6.1)

--build: build only; the tests are then for test/vm/vm --arm64. --whole: all cases of those tests, too,
that otherwise run a part of thousands of them, and say so; takes more than an hour. What is emulated on amd64 keeps most of
that processor's strict order of loads and stores: that arm64's own may be another one,
unit/marker_interleavings tries and not this.
"""

import os
import re
import subprocess
import time

import foreign
import machine
import program
from architecture import ARM64
from arm64_inside import STRIDES, UNIT
from cache import TREE

BUILD = TREE / "build/arm64"
PROGRAMS = ("cmake", "ninja", "aarch64-linux-gnu-gcc", "qemu-aarch64", "clang", "bpftool")
KERNELS = ("6.1",)
_TIMEOUT_S = 1500
_WHOLE_TIMEOUT_S = 4 * 3600
_UNIT_TIMEOUT_S = "1200"


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


def unit_tests(whole):
    """Runs the unit tests; returns what is wrong."""
    began = time.monotonic()
    stride = 1 if whole else STRIDES["unit_state_damage"]
    out = subprocess.run(
        ["ctest", "--test-dir", str(BUILD), "-L", "^unit$", "-E", f"^unit/({'|'.join(UNIT)})$", "-j",
         str(os.cpu_count()), "--timeout", _UNIT_TIMEOUT_S, "--output-on-failure", "--no-tests=error"],
        env={**os.environ, "FLOWD_TEST_STRIDE": str(stride)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    count = re.search(r"tests passed, \d+ tests failed out of (\d+)", out.stdout)
    print(f"arm64: unit tests: {count.group(0) if count else 'no count'}, {time.monotonic() - began:.0f} s", flush=True)
    if not whole:
        print(f"arm64: unit tests of thousands of cases ran each {stride}th")
    if out.returncode == 0 and count:
        return []
    print(out.stdout[-6000:])
    return ["unit tests"]


def in_machine(line, whole, share):
    """Runs arm64_inside.py in a machine; returns what is wrong."""
    status, said = program.run_inside(line, "arm64_inside.py", ["--whole"] if whole else [], share, ARM64,
                                      timeout_s=_WHOLE_TIMEOUT_S if whole else _TIMEOUT_S)
    print(said, flush=True)
    return [] if status == 0 else [f"kernel {line}"]


def main():
    parser = program.parser(__doc__)
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--whole", action="store_true")
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
    wrong = unit_tests(arguments.whole)
    with program.shares(arguments.save, "arm64") as share:
        for line in arguments.kernel or KERNELS:
            wrong += in_machine(line, arguments.whole, share(line))
    print(f"arm64: {'FAILED: ' + ', '.join(wrong) if wrong else 'passed'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    program.end("arm64", main)
