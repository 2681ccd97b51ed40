# SPDX-License-Identifier: Apache-2.0
"""
Where virtual machines keep what takes long to make: kernels, the root image, packages.

$FLOWD_VM_CACHE, else /var/tmp/flowd-vm: it outlives `make clean`, and worktrees share it. Whoever
makes something holds the lock; what is made appears under its name when it is complete.
"""

import contextlib
import fcntl
import os
import pathlib
import subprocess

CACHE = pathlib.Path(os.environ.get("FLOWD_VM_CACHE") or "/var/tmp/flowd-vm")
HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[1]
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class VmError(Exception):
    """A machine, or what it is made of, could not be made."""


def run(argv, **options):
    """Runs a program; shows what it printed where it fails."""
    done = subprocess.run([str(one) for one in argv], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise VmError(f"{' '.join(map(str, argv))}: status {done.returncode}\n"
                      f"{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


@contextlib.contextmanager
def locked():
    """One process at a time makes things in the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def mirrors():
    """The addresses of Debian's archive and of its security archive that this machine's apt uses."""
    found = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Identifier: Packages"])
    pairs = [line.split() for line in found.splitlines() if len(line.split()) == 2]
    security = next((uri for uri, release in pairs if release.endswith("-security")), None)
    archive = next((uri for uri, release in pairs if "-" not in release), None)
    if archive is None:
        raise VmError("apt has no Debian archive that other releases' packages could come from")
    return archive, security or archive.rstrip("/") + "-security/"
