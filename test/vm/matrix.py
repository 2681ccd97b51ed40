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

import json

import machine
import program
from cache import TREE, VmError

MANUAL = TREE / "docs/operations.md"
_HEADING = "| what, on Debian's kernels |"
_NOTHING = "no answer"


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
    """{row: cell} that a machine with this kernel says, {} where it says nothing; and all that it said."""
    found = share / "cells"
    found.unlink(missing_ok=True)
    _, said = program.run_inside(line, "matrix_inside.py", [TREE, "/share/cells"], share)
    lines = found.read_text(encoding="utf-8").splitlines() if found.exists() else []
    return {one["row"]: one["cell"] for one in map(json.loads, lines)}, said


def show(found, rows):
    """The table as it was found, in the manual's form."""
    print(f"\n{_HEADING} {' | '.join(found)} |")
    print("| --- |" + " --- |" * len(found))
    for row in rows:
        print(f"| {row} | {' | '.join(column.get(row, _NOTHING) for column in found.values())} |")


def main():
    arguments = program.parser(__doc__).parse_args()
    missing = machine.missing_programs()
    if missing:
        print(f"this needs {', '.join(missing)} (packaging/dependencies/install vm)")
        return 1
    expected = manual()
    found, problems = {}, []
    with program.shares(arguments.save, "matrix") as share:
        for line in arguments.kernel or list(expected):
            if line not in expected:
                raise VmError(f"the manual's table has no column for kernel {line}: it has {', '.join(expected)}")
            found[line], said = cells(line, share(line))
            wrong = [f"kernel {line}: {row}: {found[line].get(row, _NOTHING)}, and the manual says: "
                     f"{expected[line].get(row, _NOTHING)}"
                     for row in dict.fromkeys([*expected[line], *found[line]])
                     if found[line].get(row) != expected[line].get(row)]
            if wrong:
                print(said)
            problems += wrong
    show(found, list(dict.fromkeys(row for column in (*expected.values(), *found.values()) for row in column)))
    print()
    for problem in problems:
        print(problem)
    right = sum(found[line].get(row) == cell for line in found for row, cell in expected[line].items())
    print(f"kernels: {right} passed, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    program.end("matrix", main)
