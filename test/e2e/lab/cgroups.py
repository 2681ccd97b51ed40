# SPDX-License-Identifier: Apache-2.0
"""The cgroup2 file system of this host, and who has sk_ops programs there."""

import contextlib
import json
import os
import pathlib

import pytest

from lab.netns import run


def mount_point():
    """Where cgroup2 is mounted."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.startswith("cgroup2 "):
                return pathlib.Path(before.split()[4])
    pytest.skip("no cgroup2 file system is mounted")


def sockops_programs(cgroup=None):
    """The names of the sk_ops programs at a cgroup."""
    shown = run(["bpftool", "-j", "cgroup", "show", str(cgroup or mount_point())]).stdout
    return [one["name"] for one in json.loads(shown.strip() or "[]") if one["attach_type"].endswith("sock_ops")]


@contextlib.contextmanager
def made(name):
    """A cgroup of the test's own, whose processes are moved out at the end."""
    path = mount_point() / f"flowd-e2e-{os.getpid()}-{name}"
    path.mkdir()
    try:
        yield path
    finally:
        for process in (path / "cgroup.procs").read_text().split():
            (mount_point() / "cgroup.procs").write_text(process)
        path.rmdir()


@contextlib.contextmanager
def inside(cgroup):
    """This process is in the cgroup inside the block, and what it makes there."""
    before = next(line for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines()
                  if line.startswith("0::"))[3:].lstrip("/")
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (mount_point() / before / "cgroup.procs").write_text(str(os.getpid()))
