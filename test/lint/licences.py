#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Checks what source files say of their licence, as README.md has it: Apache-2.0, and for what is
compiled for the kernel, with all that it includes, the two of the objects' license section.

Prints what is wrong, and fails if there is anything.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
OWN = "Apache-2.0"
KERNEL = "BSD-2-Clause OR GPL-2.0-only"
SECTION = 'SEC("license") = "Dual BSD/GPL"'
NO_SOURCES = ("test/data/", "test/fuzz/corpus/")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def is_source(name):
    if name.startswith(NO_SOURCES) or not (ROOT / name).is_file():
        return False
    path = pathlib.PurePath(name)
    return (path.suffix in (".c", ".h", ".py", ".cmake") or
            path.name in ("CMakeLists.txt", "Makefile") or read(name).startswith("#!"))


def of_kernel(sources):
    """The BPF programs and what they include."""
    found = set()
    todo = [name for name in sources if re.search(r"\.bpf\.[ch]$", name)]
    while todo:
        name = todo.pop()
        found.add(name)
        for included in re.findall(r'^#include "([^"]+)"', read(name), re.MULTILINE):
            for place in (included, str(pathlib.PurePath(name).parent / included)):
                if place in sources and place not in found:
                    todo.append(place)
    return found


def main():
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                           cwd=ROOT, check=True, capture_output=True, text=True).stdout
    sources = {name for name in names.splitlines() if is_source(name)}
    kernel = of_kernel(sources)
    wrong = []
    for name in sorted(sources):
        wanted = KERNEL if name in kernel else OWN
        top = "\n".join(read(name).split("\n", 2)[:2])
        found = re.search(r"^(?:/\*|#) SPDX-License-Identifier: (.*?)(?: \*/)?$", top, re.MULTILINE)
        if found is None:
            wrong.append(f"{name}: lacks SPDX-License-Identifier: {wanted}")
        elif found[1] != wanted:
            wrong.append(f"{name}: says {found[1]}, wants {wanted}")
        if name.endswith(".bpf.c") and SECTION not in read(name):
            wrong.append(f"{name}: lacks {SECTION}")
    for licence in (OWN, *KERNEL.split(" OR ")):
        if not (ROOT / "LICENSES" / f"{licence}.txt").is_file():
            wrong.append(f"LICENSES/{licence}.txt: is not there")
    print("\n".join(wrong), end="\n" if wrong else "")
    return bool(wrong)


sys.exit(main())
