#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs as root in an arm64 machine: the BPF tests of build/arm64, the rows of the manual's table of
kernels as end-to-end tests with that flowd, and unit tests. Two of them at once: each has network
namespaces and pins of its own. Exit status 0: all of them passed; one that is left out for another
reason than that the kernel lacks something is a failure.

    arm64_inside.py [--whole] [NAME...]    (end-to-end, marker_stress, bpf_load, unit_resolver; default: all)

--whole: all cases, also of the tests in STRIDES.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

BUILD = pathlib.Path(__file__).resolve().parents[2] / "build/arm64"
DEADLINE_S = "120"
# Unit tests that the emulator of programs is not up to: it passes no sock_diag on, and has
# its own view of sockets and signals. arm64.py reads this, too.
UNIT = ("enricher_netlink_pace", "firefly_held", "resolver", "sock_diag")
# Their limits of a second or less are over in a slow machine, whatever the size of its pages, before
# the test has done its part. The emulator of programs is quick enough.
TOO_SLOW = ("unit_fetch", "unit_http_server_limits")
# Of thousands of cases these run each so many-th, and say so: primes, so that they leave out no value of
# what the cases are made of. arm64.py reads this, too.
STRIDES = {"bpf_combinations": 97, "bpf_interrupted": 29, "bpf_settings": 7, "unit_state_damage": 17}
WHOLE_TIMEOUT_S = 7200
# The emulator of programs has pages of this size, so the other unit tests have run with them.
PAGE_SIZE = 4096


def run(name, argv, timeout_s, **options):
    """Runs a program; prints how long it took, and what it said where it fails. Returns its output."""
    began = time.monotonic()
    try:
        done = subprocess.run([str(one) for one in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", check=False, timeout=timeout_s, **options)
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as problem:
        status, output = "too slow", (problem.stdout or b"").decode(errors="replace")
    notes = re.findall(r"^(?:left out: |each \d+th: ).*", output, re.MULTILINE)
    print("\n".join([f"{name}: {status}, {time.monotonic() - began:.0f} s", *dict.fromkeys(notes)]), flush=True)
    if status != 0:
        print(output[-6000:], flush=True)
    return status, output


def program(name, whole):
    """Runs a program of tests, all or some of its cases."""
    return run(name, [BUILD / "tests" / f"test_{name}"], WHOLE_TIMEOUT_S if whole else 600,
               env={**os.environ, "FLOWD_TEST_STRIDE": str(1 if whole else STRIDES.get(name, 1))})


def bpf(name, whole):
    """Whether a program of BPF tests passed."""
    status, output = program(name, whole)
    skipped = re.findall(r"\[  SKIPPED \] (test_\w+)", output)
    excused = re.findall(r"^left out: .*\n\[  SKIPPED \] (test_\w+)", output, re.MULTILINE)
    unexcused = set(skipped).difference(excused)
    if unexcused:
        print(f"{name}: skipped: {', '.join(sorted(unexcused))}")
    return status == 0 and not unexcused


def unit(name, whole):
    """Whether a program of unit tests passed."""
    return program(name, whole)[0] == 0


def end_to_end():
    """Whether the end-to-end tests passed, and there were some."""
    status, output = run(
        "end-to-end", ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=8",
                       BUILD.parents[1] / "test/e2e/test_kernel.py"], 900,
        env={**os.environ, "FLOWD_BIN_DIR": str(BUILD / "bin"), "FLOWD_TEST_DEADLINE_S": DEADLINE_S,
             "FLOWD_TEST_STRICT": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    print(output.strip().rpartition("\n")[2])
    return status == 0 and re.search(r"\b[1-9]\d* passed", output) is not None


def marker_stress():
    return run("marker_stress", [BUILD / "bench/marker_stress", "100000", "2000"], 200)[0] == 0


def jobs(whole):
    """{name: function}, what takes longest first."""
    units = sorted(one.name.removeprefix("test_") for one in (BUILD / "tests").glob("test_unit_*"))
    units = [name for name in units if name not in TOO_SLOW]
    if os.sysconf("SC_PAGESIZE") == PAGE_SIZE:
        units = [f"unit_{name}" for name in UNIT]
    programs = sorted(one.name.removeprefix("test_") for one in (BUILD / "tests").glob("test_bpf_*"))
    return {"end-to-end": end_to_end,
            **{name: lambda name=name: bpf(name, whole) for name in programs},
            **{name: lambda name=name: unit(name, whole) for name in units}}


def main():
    print(f"{os.uname().machine}, pages of {os.sysconf('SC_PAGESIZE')} bytes, {os.cpu_count()} processors", flush=True)
    subprocess.run(["modprobe", "tun"], check=False)
    whole = "--whole" in sys.argv[1:]
    wanted = [name for name in sys.argv[1:] if name != "--whole"]
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        passed = {name: pool.submit(job) for name, job in jobs(whole).items() if not wanted or name in wanted}
    passed = {name: job.result() for name, job in passed.items()}
    # It wants both processors.
    if not wanted or "marker_stress" in wanted:
        passed["marker_stress"] = marker_stress()
    wrong = [name for name, good in passed.items() if not good]
    print(f"{len(passed) - len(wrong)} of {len(passed)} programs of tests passed, {time.monotonic() - began:.0f} s")
    if wrong:
        print(f"failed: {', '.join(wrong)}")
    return 0 if passed and not wrong and len(passed) >= len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
