# SPDX-License-Identifier: Apache-2.0
"""
Runs flowd's container of a pod as a runtime does, by crun: the user, capabilities, file systems and the
system-call filter of its manifest, in a network namespace of the test. The image is the programs with
the libraries that they need.
"""

import json
import pathlib
import platform
import re
import shutil
import subprocess

from lab.api_client import Api
from lab.flowd_process import FLOWCTL, FLOWD
from lab.waiting import DEADLINE_S, until
from manifests import run

# The filter of Podman and CRI-O, on which those of containerd and Docker are modelled.
SECCOMP = pathlib.Path("/usr/share/containers/seccomp.json")
# What the filter and ldconfig call this machine.
MACHINE, FILTERED, LINKED = {"x86_64": ("amd64", "SCMP_ARCH_X86_64", "x86-64"),
                             "aarch64": ("arm64", "SCMP_ARCH_AARCH64", "AArch64")}[platform.machine()]


def _libraries(program):
    """Those that it is linked with, the loader too."""
    return re.findall(r"(/\S+) \(0x", run(["ldd", program]))


def make_image(place):
    """A root with /usr/sbin/flowd and /usr/bin/flowctl, and nothing else that could be run."""
    curl = next(line.split()[-1] for line in run(["ldconfig", "-p"]).splitlines() if "libcurl.so.4 " in line and LINKED in line)
    for program, target in ((FLOWD, "usr/sbin/flowd"), (FLOWCTL, "usr/bin/flowctl")):
        (place / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, place / target)
    for library in {curl, *_libraries(FLOWD), *_libraries(FLOWCTL), *_libraries(curl)}:
        target = place / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    for directory in ("dev", "etc", "proc", "run", "sys", "tmp", "var/lib"):
        (place / directory).mkdir(parents=True, exist_ok=True)
    return place


def filter_of(capabilities, bpf_by_capability=True):
    """
    RuntimeDefault for a container with these capabilities. The file in Debian 12 allows bpf(2) with
    CAP_SYS_ADMIN alone; with bpf_by_capability it is as containerd 1.6.9 and Docker 23.0 have it.
    """
    document = json.loads(SECCOMP.read_text())
    rules = []
    for rule in document["syscalls"]:
        wanted, unwanted = rule.get("includes", {}), rule.get("excludes", {})
        if not set(wanted.get("caps", ())) <= capabilities or set(unwanted.get("caps", ())) & capabilities:
            continue
        if MACHINE not in wanted.get("arches", [MACHINE]) or MACHINE in unwanted.get("arches", []):
            continue
        names = [name for name in rule["names"] if not (bpf_by_capability and name == "bpf" and "CAP_BPF" in capabilities)]
        one = {"names": names, "action": rule["action"]}
        if rule.get("args"):
            one["args"] = [{"index": arg["index"], "value": arg["value"], "valueTwo": arg.get("valueTwo", 0), "op": arg["op"]}
                           for arg in rule["args"]]
        if "errnoRet" in rule:
            one["errnoRet"] = rule["errnoRet"]
        rules.append(one)
    if bpf_by_capability and "CAP_BPF" in capabilities:
        rules.append({"names": ["bpf"], "action": "SCMP_ACT_ALLOW"})
    return {"defaultAction": document["defaultAction"], "defaultErrnoRet": document["defaultErrnoRet"],
            "architectures": [FILTERED], "syscalls": rules}


def _bind(source, target, read_only):
    return {"destination": target, "type": "bind", "source": str(source),
            "options": ["rbind", "rprivate", "ro" if read_only else "rw"]}


_MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
]


def oci(pod, container, namespace, volumes, **filter_options):
    """The runtime's document; volumes: name to what is mounted for it."""
    security = container["securityContext"]
    assert security["capabilities"]["drop"] == ["ALL"] and not security["privileged"]
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    capabilities = {f"CAP_{name}" for name in security["capabilities"]["add"]}
    mounts = [_bind(volumes[mount["name"]], mount["mountPath"], mount.get("readOnly", False))
              for mount in container["volumeMounts"]]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
            "args": container["command"], "cwd": "/", "env": ["PATH=/usr/sbin:/usr/bin"],
            "capabilities": {kind: sorted(capabilities) for kind in ("bounding", "effective", "permitted")},
            "noNewPrivileges": not security["allowPrivilegeEscalation"],
        },
        "root": {"path": "rootfs", "readonly": security["readOnlyRootFilesystem"]},
        "hostname": "node", "mounts": _MOUNTS + mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
            + [{"type": "network", "path": namespace.path}],
            "seccomp": filter_of(capabilities, **filter_options),
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


# crun looks for one kind of cgroups, though it is told to use none: a machine may have both.
_CRUN = ["unshare", "--mount", "sh", "-c", 'mount -t cgroup2 none /sys/fs/cgroup && exec crun --cgroup-manager=disabled "$@"', "sh"]


class Container:
    """flowd's container of a pod, whose probes are asked as kubelet asks them."""

    def __init__(self, place, image, name, document, spec, namespace):
        self._name, self._spec, self._namespace = name, spec, namespace
        self._state, self._bundle = place / "crun", place / f"bundle-{name}"
        self._bundle.mkdir()
        (self._bundle / "rootfs").symlink_to(image)
        (self._bundle / "config.json").write_text(json.dumps(document))
        self._log_path = place / f"{name}.log"
        self._process = None

    def _crun(self, *arguments, **options):
        return subprocess.run([*_CRUN, f"--root={self._state}", *arguments],
                              capture_output=True, text=True, timeout=DEADLINE_S, check=False, **options)

    def log(self):
        return self._log_path.read_text(errors="replace")

    def start(self):
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(
                [*_CRUN, f"--root={self._state}", "run", f"--bundle={self._bundle}", self._name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def probe(self, kind):
        """(whether it passes, what it said)."""
        wanted = self._spec[kind]
        if "exec" in wanted:
            done = self._crun("exec", self._name, *wanted["exec"]["command"])
            return done.returncode == 0, done.stdout + done.stderr
        get = wanted["httpGet"]
        api = Api(self._namespace, address=get["host"], port=get["port"])
        try:
            answer = api.get(get["path"])
            return answer.status == 200, answer.body.decode()
        except OSError as error:
            return False, str(error)
        finally:
            api.close()

    def wait_ready(self):
        def ready():
            assert self._process.poll() is None, self.log()
            return self.probe("readinessProbe")[0]

        until(ready, lambda: f"readiness: {self.probe('readinessProbe')}\n{self.log()}", interval=0.1)

    def status(self):
        """What the kernel says of the first process in the container: /proc/PID/status by name."""
        pid = json.loads(self._crun("state", self._name).stdout)["pid"]
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def stop(self):
        """As kubelet does: TERM, and time to end."""
        killed = self._crun("kill", self._name, "TERM")
        assert killed.returncode == 0, killed.stderr
        status = self._process.wait(DEADLINE_S)
        self._process = None
        assert status == 0, (status, self.log())

    def remove(self):
        self._crun("delete", "--force", self._name)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
