# SPDX-License-Identifier: Apache-2.0
"""
The root of machines of another architecture, and what is built for them stands on: one directory, a
sysroot with headers and libraries and all that a machine needs to run the tests.

Packages are unpacked only: their scripts are programs of that architecture. What those would have
made and the tests want (users, groups, names of programs) is put in here.
"""

import hashlib
import os
import shutil

from cache import CACHE, HERE, KEYRING, VmError, locked, mirrors, run

_SUITE = "bookworm"
_SIZE = "2G"
_USR = ("bin", "sbin", "lib")
# Names that update-alternatives makes.
_NAMES = {"usr/bin/awk": "mawk"}


def _list_of(architecture):
    return HERE / f"packages-{architecture.name}.txt"


def _unpack(top, architecture):
    archive, security = mirrors()
    sources = [f"deb [signed-by={KEYRING}] {uri} {suite} main"
               for uri, suite in ((archive, _SUITE), (security, f"{_SUITE}-security"))]
    packages = ",".join(_list_of(architecture).read_text(encoding="ascii").split())
    run(["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", f"--architectures={architecture.name}",
         "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", f"--include={packages}",
         '--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=Acquire::Retries "3"', _SUITE, top, *sources])


def _finish(top):
    for name in _USR:
        if not (top / name).is_symlink():
            raise VmError(f"{top}/{name} is a directory of its own")
    for name in ("passwd", "group"):
        shutil.copy(top / f"usr/share/base-passwd/{name}.master", top / "etc" / name)
    for name, target in _NAMES.items():
        if not (top / name).exists():
            (top / name).symlink_to(target)
    for name in ("vm", "share", "tree"):
        (top / name).mkdir()
    for name in ("init", "run-command"):
        shutil.copy(HERE / name, top / "vm" / name)
        (top / "vm" / name).chmod(0o755)
    (top / "etc/hostname").write_text("vm\n", encoding="ascii")
    (top / "etc/hosts").write_text("127.0.0.1 localhost vm\n::1 localhost\n", encoding="ascii")
    for place in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(top / place, ignore_errors=True)


def sysroot(architecture):
    """The directory, made if it is not there."""
    digest = hashlib.sha256()
    for path in (_list_of(architecture), HERE / "foreign.py", HERE / "init", HERE / "run-command"):
        digest.update(path.read_bytes())
    top = CACHE / f"sysroot-{architecture.name}-{digest.hexdigest()[:12]}"
    half = CACHE / f".sysroot-{architecture.name}"
    with locked():
        if not top.is_dir():
            print(f"making the root of {architecture.name} machines", flush=True)
            shutil.rmtree(half, ignore_errors=True)
            _unpack(half, architecture)
            _finish(half)
            for old in CACHE.glob(f"sysroot-{architecture.name}-*"):
                shutil.rmtree(old)
            half.rename(top)
    return top


def image(architecture):
    """The same as an image of a disk, which lies in the directory's parent."""
    top = sysroot(architecture)
    path = top.with_name(f"disk-{architecture.name}-{top.name[-12:]}.ext4")
    with locked():
        if not path.exists():
            for old in CACHE.glob(f"disk-{architecture.name}-*.ext4"):
                old.unlink()
            half = path.with_suffix(".half")
            half.unlink(missing_ok=True)
            run(["truncate", "-s", _SIZE, half])
            run(["mkfs.ext4", "-q", "-O", "^has_journal", "-d", top, half])
            os.rename(half, path)
    return path
