# SPDX-License-Identifier: Apache-2.0
"""Builds the packages as packaging/rpm/build does, with a distribution's macros, and reads them."""

import os
import pathlib
import re
import shutil
import subprocess
import tarfile

TREE = pathlib.Path(__file__).resolve().parents[2]
SPEC = TREE / "packaging/rpm/flowd.spec"
MACROS = TREE / "packaging/rpm/debian.macros"
# Flags as a distribution has them, each to be found again.
C_FLAGS = "-O2 -g -Wall -Werror=format-security -Wp,-D_FORTIFY_SOURCE=3 -fstack-clash-protection"
LINK_FLAGS = "-Wl,-z,relro -Wl,--hash-style=gnu"


class RpmError(Exception):
    """A package, or what is in it, is not as it has to be."""


def run(argv, **options):
    """Runs a program; shows what it printed where it fails."""
    done = subprocess.run([str(one) for one in argv], capture_output=True, text=True, check=False,
                          errors="replace", **options)
    if done.returncode != 0:
        raise RpmError(f"{' '.join(map(str, argv))}: status {done.returncode}\n"
                       f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}")
    return done.stdout + (done.stderr if options.get("env") else "")


def want(holds, what):
    """What has to hold; says what it is where it does not."""
    if not holds:
        raise RpmError(what)


def parse(*defines):
    """The spec with all its macros expanded, for a distribution."""
    options = [part for one in defines for part in ("--define", one)]
    return run(["rpmspec", "--parse", "--load", MACROS, *options, SPEC])


def sources(parsed, directory):
    """Releases of others in the layout that theirs have, of what Debian packages of them."""
    of = {"llhttp": [("src", "/usr/share/llhttp", "*.c"), ("include", "/usr/share/include/llhttp", "*.h")],
          "uthash": [("src", "/usr/include", "ut*.h")]}
    directory.mkdir()
    for url in re.findall(r"^Source[1-9]: *(\S+)", parsed, re.MULTILINE):
        name, version = re.fullmatch(r".*/([a-z]+)-([0-9.]+)\.tar\.gz", url).groups()
        top = f"llhttp-release-v{version}" if name == "llhttp" else f"{name}-{version}"
        with tarfile.open(directory / f"{name}-{version}.tar.gz", "w:gz") as archive:
            for folder, place, pattern in of[name]:
                for file in sorted(pathlib.Path(place).glob(pattern)):
                    archive.add(file, f"{top}/{folder}/{file.name}")


def build(work, *defines):
    """Builds for a distribution in the directory WORK; returns the packages by name, and what it printed."""
    sources(parse(*defines), work / "sources")
    environment = dict(os.environ, FLOWD_RPM_DIR=str(work / "top"), FLOWD_RPM_SOURCES=str(work / "sources"))
    # With it ccache would have other names for the sources in what debuggers read.
    environment.pop("CCACHE_BASEDIR", None)
    defines += (f"optflags {C_FLAGS}", f"build_ldflags {LINK_FLAGS}")
    options = [part for one in defines for part in ("--define", one)]
    output = run([TREE / "packaging/rpm/build", *options], env=environment)
    shutil.rmtree(work / "top/BUILD")
    packages = {run(["rpm", "-qp", "--qf", "%{NAME}", file]): file
                for file in sorted((work / "top/RPMS").rglob("*.rpm"))}
    return packages, output


def files(package):
    """What is in a package: by name its flags (c: configuration, g: ghost, d, l), mode, owner and group."""
    lines = run(["rpm", "-qp", "--qf",
                 "[%{FILENAMES}\t%{FILEFLAGS:fflags}\t%{FILEMODES:perms}\t%{FILEUSERNAME}:%{FILEGROUPNAME}\n]",
                 package])
    return {name: tuple(rest) for name, *rest in (line.split("\t") for line in lines.splitlines())}


def query(package, what):
    """The lines of one query: requires, provides, scripts, ..."""
    return run(["rpm", "-qp", f"--{what}", package]).splitlines()
