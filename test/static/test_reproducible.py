# SPDX-License-Identifier: Apache-2.0
"""Two builds in two directories give the same bytes, dynamic and static."""

import hashlib
import os
import pathlib
import shutil
import subprocess

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
LIBCURL = TREE / "build/static/libcurl"
PRESETS = {"release": "build", "static": "build/static"}


def copy_of_tree(target):
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TREE,
                           capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (TREE / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TREE / name, target / name)


def digests(tree, preset):
    """{program: digest} of a build from nothing, by no cache of a compiler."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("CCACHE_") and name not in ("CMAKE_C_COMPILER_LAUNCHER", "CFLAGS", "LDFLAGS")}
    for argv in (["--preset", preset, f"-DFLOWD_STATIC_LIBCURL={LIBCURL}"],
                 ["--build", "--preset", preset, "--target", "flowd", "flowctl"]):
        done = subprocess.run(["cmake", *argv], cwd=tree, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    programs = tree / PRESETS[preset] / "bin"
    return {name: hashlib.sha256((programs / name).read_bytes()).hexdigest() for name in ("flowd", "flowctl")}


@pytest.mark.parametrize("preset", PRESETS)
def test_two_directories_give_the_same_bytes(preset, directory):
    found = []
    for name in ("one", "another/and-deeper"):
        copy_of_tree(directory / name)
        found.append(digests(directory / name, preset))
    assert found[0] == found[1]
    for program in found[0]:
        data = (directory / "one" / PRESETS[preset] / "bin" / program).read_bytes()
        assert str(directory).encode() not in data
