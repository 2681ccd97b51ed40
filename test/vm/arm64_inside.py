#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs as root in an arm64 machine: the BPF tests of build/arm64, and end-to-end tests in which that
flowd marks what goes through a veth. Exit status 0: all of them passed; one that is left out for another
reason than that the kernel lacks something is a failure.

    arm64_inside.py
"""

import os
import pathlib
import re
import subprocess
import sys
import time

BUILD = pathlib.Path(__file__).resolve().parents[2] / "build/arm64"
DEADLINE_S = "120"
# The others go through thousands of cases one after another, which takes too long here.
BPF = ("entries", "fragments", "general", "load", "lookup", "nonlinear", "packets", "reference", "refused_entries",
       "sockops", "table")
# Unit tests that the emulator of programs is not up to: it passes no sock_diag on, and has
# its own view of sockets and signals. arm64.py reads this, too.
UNIT = ("enricher_netlink_pace", "firefly_held", "resolver", "sock_diag")
# One way to attach for each strategy, and what each of flowd's other programs in the kernel does.
END_TO_END = "(test_marks and auto) or test_kill or test_iperf3 or (test_skops and not before) or test_end_by"


def run(name, argv, timeout_s, **options):
    """Runs a program; prints how long it took, and what it said where it fails. Returns its output."""
    began = time.monotonic()
    try:
        done = subprocess.run([str(one) for one in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", check=False, timeout=timeout_s, **options)
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as problem:
        status, output = "too slow", (problem.stdout or b"").decode(errors="replace")
    print(f"{name}: {status}, {time.monotonic() - began:.0f} s", flush=True)
    if status != 0:
        print(output[-6000:], flush=True)
    return status, output


def bpf(program):
    """Whether a program of BPF tests passed."""
    status, output = run(program.name, [program], 400)
    skipped = re.findall(r"\[  SKIPPED \] (test_\w+)", output)
    excused = re.findall(r"^left out: .*\n\[  SKIPPED \] (test_\w+)", output, re.MULTILINE)
    for line in re.findall(r"^left out: .*", output, re.MULTILINE):
        print(line)
    unexcused = set(skipped).difference(excused)
    if unexcused:
        print(f"skipped: {', '.join(sorted(unexcused))}")
    return status == 0 and not unexcused


def end_to_end():
    """Whether the end-to-end tests passed, and there were some."""
    status, output = run(
        "end-to-end", ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", END_TO_END,
                       BUILD.parents[1] / "test/e2e/test_kernel.py"], 900,
        env={**os.environ, "FLOWD_BIN_DIR": str(BUILD / "bin"), "FLOWD_TEST_DEADLINE_S": DEADLINE_S,
             "FLOWD_TEST_STRICT": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    print(output.strip().rpartition("\n")[2])
    return status == 0 and re.search(r"\b[1-9]\d* passed", output) is not None


def main():
    print(f"{os.uname().machine}, pages of {os.sysconf('SC_PAGESIZE')} bytes, {os.cpu_count()} processors", flush=True)
    subprocess.run(["modprobe", "tun"], check=False)
    passed = end_to_end()
    units = [run(f"unit {name}", [BUILD / f"tests/test_unit_{name}"], 300)[0] == 0 for name in UNIT]
    good = [bpf(BUILD / f"tests/test_bpf_{name}") for name in BPF]
    stress = run("marker_stress", [BUILD / "bench/marker_stress", "100000", "2000"], 200)[0]
    return 0 if all(good + units) and stress == 0 and passed else 1


if __name__ == "__main__":
    sys.exit(main())
