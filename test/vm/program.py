# SPDX-License-Identifier: Apache-2.0
"""
What the programs that try several kernels have in common: the command line, the run of a script in a
machine, and the end.
"""

import argparse
import contextlib
import pathlib
import shlex
import sys
import tempfile
import time

import kernels
import machine
from architecture import AMD64
from cache import HERE, VmError

_TIMEOUT_S = 1500


def parser(text):
    """Takes kernels, and --save."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("kernel", nargs="*")
    made.add_argument("--save", type=pathlib.Path, help="keep what each machine said in this directory")
    return made


@contextlib.contextmanager
def shares(save, name):
    """A function from a kernel's line to the directory that is shared with its machine."""
    with tempfile.TemporaryDirectory(prefix=f"flowd-{name}-") as temporary:
        def share(line):
            path = (save or pathlib.Path(temporary)) / pathlib.Path(line).name
            path.mkdir(parents=True, exist_ok=True)
            return path

        yield share


def run_inside(line, script, arguments, share, architecture=AMD64, timeout_s=_TIMEOUT_S):
    """
    Runs a script of this directory in a machine with the kernel. Returns its exit status, None: there
    was none, which is printed; and what it said.
    """
    output = share / "output"
    output.unlink(missing_ok=True)
    began = time.monotonic()
    words = ["/usr/bin/python3", "-u", HERE / script, *arguments]
    command = f"{shlex.join(map(str, words))} >/share/output 2>&1"
    status = None
    try:
        kernel = kernels.fetch(line, architecture)
        print(f"== kernel {line}: {kernel.version}, {architecture.name}", flush=True)
        status = machine.boot(kernel, command, share, timeout_s=timeout_s)
    except VmError as problem:
        print(problem, flush=True)
    said = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    print(f"== kernel {line}: {time.monotonic() - began:.0f} s", flush=True)
    return status, said


def end(name, main):
    """Runs main, and ends with what it returns."""
    try:
        sys.exit(main())
    except VmError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(1)
