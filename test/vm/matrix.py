#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The kernel matrix: boots each kernel, has matrix_inside.py try there what the manual's table of kernels
promises, and compares cell by cell. The table in docs/operations.md is what is expected: there is no
other list.

    matrix.py [--save DIR] [KERNEL...]    (5.10, 6.1, 6.12, newest; default: all columns)

Exit status 0: every cell is as the manual says. A kernel that does not boot, or a cell that nothing
was said of, is a failure.
"""

import argparse
import json
import pathlib
import shlex
import sys
import tempfile
import time

import kernels
import machine
from cache import HERE, TREE, VmError

MANUAL = TREE / "docs/operations.md"
_HEADING = "| what, on Debian's kernels |"
_NOTHING = "no answer"
_TIMEOUT_S = 1500


def manual():
    """{kernel's line: {row: cell}} of the manual's table. The last column is the newest kernel."""
    lines = MANUAL.read_text(encoding="utf-8").splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith(_HEADING)), None)
    if first is None:
        raise VmError(f"{MANUAL} has no table that begins with {_HEADING!r}")
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    columns = [title.split()[0] for title in rows[0][1:-1]] + ["newest"]
    return {column: {row[0]: row[number + 1] for row in rows[2:]} for number, column in enumerate(columns)}


def cells(line, share):
    """{row: cell} that a machine with this kernel says; {} with a reason printed where it says nothing."""
    share.mkdir(exist_ok=True)
    (share / "cells").unlink(missing_ok=True)
    began = time.monotonic()
    command = (f"/usr/bin/python3 -u {shlex.quote(str(HERE / 'matrix_inside.py'))} "
               f"{shlex.quote(str(TREE))} /share/cells >/share/output 2>&1")
    try:
        kernel = kernels.fetch(line)
        print(f"== kernel {line}: {kernel.version}", flush=True)
        machine.boot(kernel, command, share, timeout_s=_TIMEOUT_S)
    except VmError as problem:
        print(problem, flush=True)
    print(f"== kernel {line}: {time.monotonic() - began:.0f} s", flush=True)
    found = share / "cells"
    if not found.exists():
        return {}
    return {one["row"]: one["cell"] for one in map(json.loads, found.read_text(encoding="utf-8").splitlines())}


def show(found, rows):
    """The table as it was found, in the manual's form."""
    print(f"\n{_HEADING} {' | '.join(found)} |")
    print("| --- |" + " --- |" * len(found))
    for row in rows:
        print(f"| {row} | {' | '.join(column.get(row, _NOTHING) for column in found.values())} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernel", nargs="*")
    parser.add_argument("--save", type=pathlib.Path, help="keep what each machine said in this directory")
    arguments = parser.parse_args()
    missing = machine.missing_programs()
    if missing:
        print(f"this needs {', '.join(missing)} (packaging/dependencies/install vm)")
        return 1
    expected = manual()
    found, problems = {}, []
    with tempfile.TemporaryDirectory(prefix="flowd-matrix-") as temporary:
        top = arguments.save or pathlib.Path(temporary)
        top.mkdir(parents=True, exist_ok=True)
        for line in arguments.kernel or list(expected):
            if line not in expected:
                raise VmError(f"the manual's table has no column for kernel {line}: it has {', '.join(expected)}")
            share = top / line
            found[line] = cells(line, share)
            wrong = [f"kernel {line}: {row}: {found[line].get(row, _NOTHING)}, and the manual says: "
                     f"{expected[line].get(row, _NOTHING)}"
                     for row in dict.fromkeys([*expected[line], *found[line]])
                     if found[line].get(row) != expected[line].get(row)]
            if wrong and (share / "output").exists():
                print((share / "output").read_text(encoding="utf-8", errors="replace"))
            problems += wrong
    show(found, list(dict.fromkeys(row for column in (*expected.values(), *found.values()) for row in column)))
    print()
    for problem in problems:
        print(problem)
    right = sum(found[line].get(row) == cell for line in found for row, cell in expected[line].items())
    print(f"kernels: {right} passed, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VmError as error:
        print(f"matrix: {error}", file=sys.stderr)
        sys.exit(1)
