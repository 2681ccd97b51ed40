# SPDX-License-Identifier: Apache-2.0
"""
A bare Debian in which a test runs its script: 12, or the release that $SUITE names.

The system is debootstrapped (make and git are all that is added) and has mounts, processes and a
network of its own. Only apt gets out, by a relay to the archives that this machine's apt uses (or
$FLOWD_TEST_MIRROR). The bare system and the packages are kept in $FLOWD_TEST_CACHE
(/var/tmp/flowd-test); nothing else is left behind, however the run ends.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from relay import PORT, Relay

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[1]
CACHE = pathlib.Path(os.environ.get("FLOWD_TEST_CACHE") or "/var/tmp/flowd-test")
# The number of each release, which all of Debian's archives have.
RELEASES = {"bookworm": "12", "trixie": "13"}
SUITE = os.environ.get("SUITE") or "bookworm"
NAME = f"Debian {RELEASES.get(SUITE, SUITE)}"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PROGRAMS = ("debootstrap", "git", "ip", "pivot_root", "setpriv", "unshare")


class BareError(Exception):
    """The bare system could not be made."""


def run(argv, **options):
    """Runs a program and shows what it printed where it fails."""
    done = subprocess.run([str(one) for one in argv], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise BareError(f"{' '.join(map(str, argv))}: status {done.returncode}\n{done.stdout[-4000:]}{done.stderr}")
    return done.stdout


def archives():
    """Where this machine's apt gets a release of Debian from: (address, suite) each, the release itself first."""
    mirror = os.environ.get("FLOWD_TEST_MIRROR")
    if mirror:
        return [(mirror, SUITE)]
    targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                   "Identifier: Packages"])
    found = set()
    for uri, suite, component in map(str.split, targets.splitlines()):
        release, dash, pocket = suite.partition("-")
        if component == "main" and release in RELEASES:
            found.add((uri, SUITE + dash + pocket))
    if SUITE not in {suite for _, suite in found}:
        raise BareError("apt has no archive of Debian; FLOWD_TEST_MIRROR=ADDRESS gives one")
    return sorted(found, key=lambda one: one[1])


def apt_settings():
    """What this machine's apt is told of the archives, beyond where they are."""
    shown = run(["apt-config", "dump", "--no-empty"])
    wanted = ("Acquire::Check-", "Acquire::Retries", "Acquire::Languages", "Acquire::IndexTargets::")
    return "".join(f"{line}\n" for line in shown.splitlines() if line.startswith(wanted))


@contextlib.contextmanager
def isolated(argv, **options):
    """
    A process with mounts and processes of its own (the network it shares with this one). When the
    block ends, or this process does, they end with it.
    """
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL",
         *map(str, argv)], start_new_session=True, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def remove(directory):
    """Removes a root; what was killed in it may take a moment to be gone."""
    for _ in range(100):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.1)
    raise BareError(f"{directory} can't be removed")


def base_system(directory):
    """The bare system as a tar archive, made where the cache has none."""
    archive = CACHE / f"debian-{SUITE}.tar"
    if archive.exists():
        return archive
    print(f"making a bare {NAME}", flush=True)
    root, half = directory / "base", archive.with_suffix(".half")
    log = directory / "debootstrap.log"
    with open(log, "wb") as output, isolated(
            ["debootstrap", "--variant=minbase", "--include=make,git", SUITE, root,
             f"http://127.0.0.1:{PORT}/0"], stdout=output, stderr=output,
            env={**os.environ, "WGETRC": str(HERE / "wgetrc")}) as process:
        status = process.wait()
    if status != 0:
        raise BareError(f"debootstrap: status {status}\n{log.read_text(errors='replace')[-4000:]}")
    run(["tar", "-C", root, "--exclude=./var/cache/apt/archives/*.deb", "-cf", half, "."])
    half.rename(archive)
    remove(root)
    return archive


def furnish(root, sources):
    """Gives the bare system this machine's apt archives and a name."""
    apt = root / "etc/apt"
    addresses = [uri for uri, _ in sources]
    (apt / "sources.list").write_text("".join(
        f"deb http://127.0.0.1:{PORT}/{addresses.index(uri)}/ {suite} main\n" for uri, suite in sources))
    (apt / "apt.conf.d/90machine").write_text(apt_settings())
    for key in pathlib.Path("/etc/apt/trusted.gpg.d").glob("*.*"):
        shutil.copy(key, apt / "trusted.gpg.d")
    (root / "etc/hostname").write_text("fresh\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost fresh\n::1 localhost\n")


def make_interface():
    """An interface with global addresses, as a machine that transfers data has one."""
    run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far"])
    for interface in ("lo", "eth0", "far"):
        run(["ip", "link", "set", interface, "up"])
    run(["ip", "address", "add", "192.0.2.1/24", "dev", "eth0"])
    run(["ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad"])


def walk(root, packages):
    """Runs /root/walk in the system; returns its exit status."""
    with isolated([HERE / "enter", root, packages]) as process:
        return process.wait()


def _with_system(prepare, use):
    """Makes the system, has it prepared and used; returns what comes of that."""
    for left in CACHE.glob("run-*"):
        remove(left)
    sources = archives()
    with Relay([uri for uri, _ in sources]) as relay:
        relay.enter_new_network()
        make_interface()
        directory = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
        try:
            root = directory / "root"
            root.mkdir(mode=0o755)
            run(["tar", "-C", root, "-xf", base_system(directory)])
            furnish(root, sources)
            prepare(root)
            packages = CACHE / "packages"
            (packages / "partial").mkdir(parents=True, exist_ok=True)
            return use(root, packages)
        finally:
            remove(directory)


def interrupted(number, _):
    """Ends the run, with all clean-ups, which a second signal does not cut short."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


def main(name, prepare, success, use=walk):
    """
    Runs a test: prepare(root) puts into the system what it needs, /root/walk at least where use(root, packages)
    is the usual one; success is what to say of one. Returns the exit status of the test.
    """
    if os.geteuid() != 0:
        # As of the tests that need root, it is for `make test` to say so at its end.
        print(f"{name}: needs root (a root of its own, with mounts and a network): left out")
        return 1 if os.environ.get("FLOWD_TEST_STRICT") == "1" else 0
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [one for one in PROGRAMS if shutil.which(one, path=path) is None]
    if missing:
        print(f"{name}: not installed: {', '.join(missing)} (make deps-fresh)", file=sys.stderr)
        return 1
    os.environ["PATH"] = path
    for number in SIGNALS:
        signal.signal(number, interrupted)
    began = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            status = _with_system(prepare, use)
        except BareError as problem:
            print(f"{name}: {problem}", file=sys.stderr)
            status = 1
    said = success if status == 0 else f"FAILED (status {status})"
    print(f"{name}: {said}, {time.monotonic() - began:.0f} s")
    return 1 if status else 0
