# SPDX-License-Identifier: Apache-2.0
"""
Debian's kernels, unpacked into the cache without installing anything.

apt finds and checks them with a state and sources of its own, on the mirror that this machine uses.
A line is a kernel's version up to its second number (5.10); each release serves the newest of its
line, and `newest` is the highest that any release or its backports serve. 6.12-16k is the flavour 16k
of 6.12. The kernels of another architecture than amd64 lie in a directory of their own. A path is a
directory with a kernel of one's own: boot/vmlinuz-VERSION and lib/modules/VERSION.
"""

import pathlib
import re
import shutil
import time

from architecture import AMD64
from cache import CACHE, KEYRING, VmError, locked, mirrors, run

RELEASES = ("bullseye", "bookworm", "trixie")
BACKPORTS = ("trixie-backports",)
LINES = ("5.10", "6.1", "6.12", "newest")
_FRESH_S = 7 * 86400  # after that it is asked whether there is a newer one


class Kernel:
    """An unpacked kernel."""

    def __init__(self, line, directory, architecture):
        self.line, self.directory, self.architecture = line, pathlib.Path(directory), architecture
        self.version = self.directory.name

    @property
    def modules(self):
        for top in ("usr/lib/modules", "lib/modules"):
            found = self.directory / top / self.version
            if found.is_dir():
                return found
        raise VmError(f"kernel {self.version} has no modules")

    @property
    def image(self):
        for found in (self.directory / "boot" / f"vmlinuz-{self.version}", self.modules / "vmlinuz"):
            if found.is_file():
                return found
        raise VmError(f"kernel {self.version} has no image to boot")


class _Apt:
    """apt with sources and state below the cache; this machine's own stay as they are."""

    def __init__(self, architecture, flavour):
        self.meta = f"linux-image-{architecture.name}{flavour}"
        self.top = _of("apt", architecture)
        for place in ("state/lists/partial", "cache/archives/partial"):
            (self.top / place).mkdir(parents=True, exist_ok=True)
        archive, security = mirrors()
        suites = [(archive, suite) for suite in RELEASES + BACKPORTS]
        suites += [(security, f"{suite}-security") for suite in RELEASES]
        (self.top / "sources.list").write_text("".join(
            f"deb [signed-by={KEYRING}] {uri} {suite} main\n" for uri, suite in suites), encoding="ascii")
        (self.top / "status").write_text("", encoding="ascii")
        settings = {
            "Dir::State": self.top / "state", "Dir::State::status": self.top / "status",
            "Dir::Cache": self.top / "cache", "Dir::Etc::SourceList": self.top / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null", "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null", "APT::Sandbox::User": "root",
            "Acquire::Retries": "3", "APT::Architecture": architecture.name,
            "APT::Architectures": architecture.name,
        }
        self.options = [f"-o{name}={value}" for name, value in settings.items()]
        run(["apt-get", "-q", *self.options, "update"])

    def images(self):
        """{line: name of the newest package of that line}, and under `newest` the highest of all."""
        versions = {line.split("|")[1].strip()
                    for line in run(["apt-cache", *self.options, "madison", self.meta]).splitlines()}
        names = set()
        for version in versions:
            shown = run(["apt-cache", *self.options, "show", f"{self.meta}={version}"])
            names.update(re.findall(r"^Depends:.*?(linux-image-\d[^ ,]*)", shown, re.MULTILINE))
        best = {}
        for name in sorted(names, key=_numbers):
            best[".".join(map(str, _numbers(name)[:2]))] = name
            best["newest"] = name
        return best

    def unpack(self, image, directory):
        """Newer releases have the parts of a kernel in several packages."""
        version = image.removeprefix("linux-image-")
        debs = CACHE / "debs"
        shutil.rmtree(debs, ignore_errors=True)
        debs.mkdir()
        known = run(["apt-cache", *self.options, "pkgnames", "linux-"]).split()
        for package in (image, f"linux-modules-{version}", f"linux-binary-{version}"):
            if package in known:
                run(["apt-get", "-q", *self.options, "download", package], cwd=debs)
        for deb in debs.iterdir():
            run(["dpkg-deb", "-x", deb, directory])
        shutil.rmtree(debs)


def _numbers(name):
    return [int(number) for number in re.findall(r"\d+", name)]


def _of(what, architecture):
    """The directory in the cache for this and an architecture."""
    return CACHE / (what if architecture is AMD64 else f"{what}-{architecture.name}")


def _unpack(apt, image, top):
    """A directory with the unpacked kernel; its modules know what they depend on."""
    version = image.removeprefix("linux-image-")
    final, half = top / version, top / f".{version}"
    if not final.is_dir():
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        apt.unpack(image, half)
        run(["depmod", "-b", half / "usr" if (half / "usr/lib/modules").is_dir() else half, version])
        half.rename(final)
    return final


def fetch(line, architecture=AMD64):
    """The kernel of this line, fetched unless it is there and not a week old."""
    if "/" in line:
        return Kernel(line, pathlib.Path(line).resolve(), architecture)
    known = re.fullmatch(r"(\d+\.\d+|newest)(-\w+)?", line)
    if not known:
        raise VmError(f"kernel {line}: known are {', '.join(LINES)}")
    version, flavour = known[1], known[2] or ""
    top = _of("kernels", architecture)
    chosen = top / f"line-{line}"
    with locked():
        if chosen.exists() and time.time() - chosen.lstat().st_mtime < _FRESH_S:
            return Kernel(line, chosen.resolve(), architecture)
        try:
            apt = _Apt(architecture, flavour)
            images = apt.images()
            if version not in images:
                raise VmError(f"kernel {line}: the archive has {', '.join(sorted(images)) or 'none'}")
            directory = _unpack(apt, images[version], top)
        except VmError as problem:
            if not chosen.exists():
                raise
            print(f"kernel {line}: the one that is there is used: {problem}", flush=True)
            return Kernel(line, chosen.resolve(), architecture)
        chosen.unlink(missing_ok=True)
        chosen.symlink_to(directory.name)
        return Kernel(line, directory, architecture)
