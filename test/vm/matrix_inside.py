#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The inside of the kernel matrix: runs as root in a machine with one of the kernels, and appends what
came of each row to the file of cells. First the verifier's word on every setting, which is quickest.

    matrix_inside.py TREE CELLS
"""

import json
import os
import pathlib
import re
import subprocess
import sys

TREE, CELLS = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
DEADLINE_S = "120"
SKIPPED = 77  # cmocka's tests of this project leave it to CTest to count a skip
# Each of them takes this long at most, also in a slow machine.
BPF_TIMEOUT_S = 400


def write(row, cell):
    with open(CELLS, "a", encoding="utf-8") as file:
        file.write(json.dumps({"row": row, "cell": cell}) + "\n")


def run(argv, **options):
    print(f"== {' '.join(map(str, argv))}", flush=True)
    try:
        done = subprocess.run([str(one) for one in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", check=False, **options)
    except subprocess.TimeoutExpired as problem:
        print((problem.stdout or b"")[-3000:], f"not done after {problem.timeout} s", flush=True)
        return None
    print(done.stdout[-6000:], f"status {done.returncode}", flush=True)
    return done


def bpf(program, left_out, *arguments):
    """
    What became of one BPF test program: None where all of it passed, else what did not run or failed.
    What it says to have left out, because this kernel lacks it, is added to left_out.
    """
    done = run([program, *arguments], timeout=BPF_TIMEOUT_S)
    name = program.name.removeprefix("test_bpf_")
    if done is None:
        return f"{name}: too slow"
    left_out.update(dict.fromkeys(re.findall(r"^left out: ([^:]+): ", done.stdout, re.MULTILINE)))
    # A whole test may be left out too; the list at the end repeats the names.
    excused = re.findall(r"^left out: .*\n\[  SKIPPED \] (test_\w+)", done.stdout, re.MULTILINE)
    skipped = set(re.findall(r"\[  SKIPPED \] (test_\w+)", done.stdout)).difference(excused)
    failed = re.findall(r"\[  FAILED  \] (test_\w+)", done.stdout)
    if failed or done.returncode not in (0, SKIPPED):
        return f"{name}: {', '.join(sorted(set(failed))) or 'failed'} failed"
    if skipped or done.returncode == SKIPPED:
        return f"{name}: {', '.join(sorted(skipped)) or 'all'} skipped"
    return None


def main():
    # Its device file comes with the module.
    run(["modprobe", "tun"])
    builds = [TREE / one / "tests" for one in ("build", "build/dev")]
    left_out = {}
    # The other build differs in how labels are remembered.
    settings = [bpf(one / "test_bpf_settings", left_out, *arguments)
                for one, arguments in zip(builds, ((), ("label",))) if (one / "test_bpf_settings").exists()]
    if len(settings) == len(builds):
        write("every setting passes the verifier", "; ".join(filter(None, settings)) or "works")
    run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", TREE / "test/e2e/test_kernel.py"],
        env={**os.environ, "FLOWD_BIN_DIR": str(TREE / "build/bin"), "FLOWD_CELLS": str(CELLS),
             "FLOWD_TEST_DEADLINE_S": DEADLINE_S, "PYTHONDONTWRITEBYTECODE": "1"})
    others = sorted(one for one in builds[0].glob("test_bpf_*") if one.name != "test_bpf_settings")
    wrong = "; ".join(filter(None, [bpf(one, left_out) for one in others]))
    write("`test/bpf`", wrong or ("passes, without " if left_out else "passes") + ", ".join(left_out))


if __name__ == "__main__":
    main()
