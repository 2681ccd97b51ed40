# SPDX-License-Identifier: Apache-2.0
"""
The life of a package in an empty root: busybox, the libraries that the programs name, and in place of
systemctl, groupadd and useradd a script that notes how it was called.
"""

import re
import shutil
import subprocess

from package import TREE, RpmError, run, want

SHELL = ("sh", "rm", "cat", "getent", "sed", "rmdir")
NOTED = ("systemctl", "groupadd", "useradd")
EDITED = '{"plugins": {"namedPipe": {}}, "backends": {"log": {}}}\n'


def libraries(program):
    """The files that the loader would map for a program, itself included."""
    found = run(["ldd", program])
    want("not found" not in found, f"{program}: {found}")
    return re.findall(r"(/\S+) \(0x", found)


def make(directory):
    """The root before the package."""
    for folder in ("bin", "sbin", "usr/bin", "usr/sbin", "dev", "proc", "run", "tmp", "var/lib/rpm", "etc"):
        (directory / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), directory / "bin/busybox")
    for name in SHELL:
        (directory / "bin" / name).symlink_to("busybox")
    for name in NOTED:
        script = directory / "usr/sbin" / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >>/tmp/calls\n')
        script.chmod(0o755)
    (directory / "bin/getent").unlink()
    (directory / "bin/getent").write_text("#!/bin/sh\nexit 2\n")
    (directory / "bin/getent").chmod(0o755)
    (directory / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nflowd:x:990:990::/:/sbin/nologin\n")
    (directory / "etc/group").write_text("root:x:0:\nflowd:x:990:\n")
    run(["mknod", "-m", "666", directory / "dev/null", "c", "1", "3"])


def rpm(directory, *arguments):
    """rpm in that root; a scriptlet that fails is a failure."""
    done = subprocess.run(["rpm", "--root", str(directory), "--dbpath", "/var/lib/rpm", "--nodeps",
                           "--nosignature", *map(str, arguments)],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0 or "failed" in done.stderr:
        raise RpmError(f"rpm {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return done.stdout


def calls(directory):
    """What the scriptlets called since the last time."""
    noted = directory / "tmp/calls"
    found = noted.read_text().splitlines() if noted.exists() else []
    noted.unlink(missing_ok=True)
    return found


def inside(directory, *argv):
    return run(["chroot", directory, *argv])


def left_behind(directory):
    return [str(path) for path in sorted(directory.rglob("*flow*")) if "var/lib/rpm" not in str(path)]


def check(directory, packages):
    make(directory)
    before = left_behind(directory)
    package = packages["flowd"]
    rpm(directory, "-i", package)
    run([TREE / "test/lint/manual_links.py", directory])
    # As they are in the package, not those of a build beside it.
    for program in ("usr/sbin/flowd", "usr/bin/flowctl"):
        for library in libraries(directory / program):
            target = directory / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)
    called = calls(directory)
    user = re.search(r'^u (\S+) - "(.*)" (\S+)$', (directory / "usr/lib/sysusers.d/flowd.conf").read_text(), re.MULTILINE)
    want(f"groupadd -r {user[1]}" in called and
         f"useradd -r -g {user[1]} -d {user[3]} -s /sbin/nologin -c {user[2]} {user[1]}" in called,
         f"no user as in sysusers.d was made: {called}")
    want(any(one.startswith("systemctl --no-reload preset flowd.service flowd.socket") for one in called),
         f"no preset: {called}")
    version = run(["rpm", "-qp", "--qf", "%{VERSION}", package])
    want(version in inside(directory, "/usr/sbin/flowd", "version"), "flowd version says another one")
    want("flowctl" in inside(directory, "/usr/bin/flowctl", "--help"), "flowctl does not start")
    config = directory / "etc/flowd/config.json"
    inside(directory, "/usr/sbin/flowd", "check")
    config.write_text(EDITED)
    inside(directory, "/usr/sbin/flowd", "check")

    rpm(directory, "--reinstall", package)
    called = calls(directory)
    want([one for one in called if "restart" in one] == [
        "systemctl try-restart flowd.service", "systemctl try-restart flowd@*.service"], f"not restarted: {called}")
    want(config.read_text() == EDITED, "the configuration was replaced")

    # What was made at run time goes, too.
    (directory / "var/lib/flowd").mkdir(exist_ok=True)
    (directory / "var/lib/flowd/flows").write_text("x")
    run(["mkfifo", directory / "run/flowd"])
    (directory / "run/flowd.lock").touch()
    wanted = directory / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(parents=True)
    (wanted / "flowd@red.service").symlink_to("/usr/lib/systemd/system/flowd@.service")
    rpm(directory, "-e", "flowd")
    called = calls(directory)
    want(called and called[0].startswith("systemctl --no-reload disable --now flowd.service flowd.socket"),
         f"not stopped: {called}")
    saved = config.with_name("config.json.rpmsave")
    want(saved.read_text() == EDITED, "the changed configuration was not saved")
    shutil.rmtree(config.parent)
    want(left_behind(directory) == before, f"left behind: {left_behind(directory)}")
