# SPDX-License-Identifier: Apache-2.0
"""
A node with Podman: one of two joined network namespaces, with mounts, processes and cgroups of its own,
where the paths of the manual are and hold nothing of this machine. All that runs there ends with the
node's first process, and that one with the test.
"""

import json
import os
import pathlib
import shutil
import subprocess

from lab import cgroups
from lab.netns import run
from lab.waiting import until

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[1]
ENGINE_S = 120

_STORAGE = """[storage]
driver = "vfs"
graphroot = "{place}/storage"
runroot = "/run/storage"
"""
_SETTINGS = """[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[engine.runtimes]
crun = ["{here}/runtime"]
"""
# Of this machine: /etc/containers, but for what the test writes. Of the node: the paths that flowd's container mounts.
_MOUNTS = """set -eu
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$1" /sys/fs/bpf
mount --bind "$2/containers" /etc/containers
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir /run/flowd.d /var/lib/flowd
echo made
exec sleep infinity
"""


class Node:
    """Commands run there by run() and popen(), in the root of the source."""

    def __init__(self, namespace, place, bpffs):
        self._namespace = namespace
        containers = place / "containers"
        shutil.copytree("/etc/containers", containers)
        (containers / "storage.conf").write_text(_STORAGE.format(place=place))
        (containers / "containers.conf").write_text(_SETTINGS.format(here=HERE))
        self._cgroup = cgroups.mount_point() / f"flowd-node-{os.getpid()}"
        self._cgroup.mkdir()
        self._first = namespace.popen(
            ["setpriv", "--pdeathsig", "KILL", "sh", "-c", 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"', "sh", self._cgroup,
             "unshare", "--mount", "--cgroup", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
             "sh", "-c", _MOUNTS, "sh", bpffs, place], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = self._first.stdout.readline()
        if said != "made\n":
            said += self._first.stdout.read()
            self.remove()
            raise AssertionError(f"no node: {said}")
        # A cgroup that gives controllers to those below it may hold no process.
        (self._cgroup / "first").mkdir()
        for process in (self._cgroup / "cgroup.procs").read_text().split():
            (self._cgroup / "first" / "cgroup.procs").write_text(process)

    def _command(self, argv):
        spaces = f"/proc/{self._first.pid}/ns"
        return ["nsenter", f"--net={self._namespace.path}", f"--mount={spaces}/mnt", f"--cgroup={spaces}/cgroup",
                f"--pid={spaces}/pid_for_children", f"--wdns={TREE}", "--", *map(str, argv)]

    def run(self, *argv, **options):
        return run(self._command(argv), timeout=ENGINE_S, **options)

    def shell(self, text, **options):
        return self.run("sh", "-euc", text, **options)

    def popen(self, *argv, **options):
        return subprocess.Popen(self._command(argv), **options)

    def write(self, path, text):
        self.run("tee", path, input=text)

    def inspect(self, name):
        return json.loads(self.run("podman", "inspect", name).stdout)[0]

    def log(self, name):
        done = self.run("podman", "logs", name, check=False)
        return done.stdout + done.stderr

    def wait_healthy(self, name, healthy=True):
        """Asks the container's own check, as the engine's timer would."""
        def asked():
            return self.run("podman", "healthcheck", "run", name, check=False).returncode == (0 if healthy else 1)

        until(asked, lambda: f"health {healthy}\n{self.log(name)}", interval=0.2)

    def status(self, name):
        """What the kernel says of the container's first process: /proc/PID/status by name."""
        text = self.run("cat", f"/proc/{self.inspect(name)['State']['Pid']}/status").stdout
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def remove(self):
        self._first.kill()
        self._first.wait()
        self._first.stdout.close()
        below = sorted(self._cgroup.rglob("*/"), reverse=True) + [self._cgroup]

        def gone():
            """What was killed leaves its cgroup a moment later."""
            for path in [one for one in below if one.is_dir()]:
                try:
                    path.rmdir()
                except OSError:
                    return False
            return True

        until(gone, f"{self._cgroup} to be empty")
