# SPDX-License-Identifier: Apache-2.0
"""The image in Podman, as the manual, the compose file and the manifests say: it marks, and restarts lose nothing."""

import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

import pytest
import yaml

from engine import TREE, Node
from lab.api_client import Api
from lab.marked import wait_marked
from lab.waiting import until
from test_continuity import Guarded

sys.path.append(str(TREE / "test" / "deploy"))

from manifests import FORMS, flowd_of, kustomized, one_of, workload  # pylint: disable=wrong-import-position

ARCHIVE = TREE / "build/static/flowd-image.tar"
VERSION = re.search(r"^project\(flowd VERSION (\S+)", (TREE / "CMakeLists.txt").read_text(), re.MULTILINE)[1]
MANUAL = (TREE / "docs/containers.md").read_text()
RIGHTS = f"{(1 << 12) | (1 << 38) | (1 << 39):016x}"  # NET_ADMIN, PERFMON, BPF
FILTER = "/etc/containers/flowd-seccomp.json"
SETTINGS = "/etc/containers/containers.conf"
COMPOSE = "docker-compose -f packaging/container/compose.yaml"


def typed(first_word):
    """The command of the manual that begins so, with the lines that go on."""
    return re.search(rf"^    ({re.escape(first_word)}.*(?:\n {{8}}.*)*)", MANUAL, re.MULTILINE)[1].replace("VERSION", VERSION)


@pytest.fixture
def node(pair, directory, pin_path):
    """With the image, and with a filter as the manual says."""
    pair.near.ip("link", "property", "add", "dev", "veth0", "altname", "eth0")
    pin_path.mkdir()
    made = Node(pair.near, directory, pin_path)
    try:
        assert f"flowd:{VERSION}" in made.run("podman", "load", "-i", ARCHIVE).stdout
        made.shell(typed("jq "))
        yield made
    finally:
        made.remove()


@pytest.fixture
def announce(node):
    """Writes a line into the fifo of the node as an ordinary user."""

    def write(text):
        node.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "tee", "/run/flowd.d/fifo", input=text)

    return write


def is_as_said(node, name):
    """The rights of the process, and what flowd says of its interfaces."""
    status = node.status(name)
    assert {status[one] for one in ("CapPrm", "CapEff", "CapBnd")} == {RIGHTS}
    assert (status["NoNewPrivs"], status["Seccomp"], status["Uid"].split()) == ("1", "2", ["0"] * 4)
    assert node.inspect(name)["HostConfig"]["ReadonlyRootfs"]
    shown = json.loads(node.run("podman", "exec", name, "/usr/bin/flowctl", "--json", "status").stdout)
    assert [one["state"] for one in shown["interfaces"]] == ["attached"]


def test_as_the_manual_says(pair, node, pin_path, announce):
    """By the command of the manual; a restart, and an end and a start, leave no packet unmarked."""
    node.shell(typed("podman run").replace("podman run", f"podman run --security-opt seccomp={FILTER}"))
    node.wait_healthy("flowd")
    is_as_said(node, "flowd")
    wait_marked(pair, announce)
    with Guarded(pair, pin_path / "flowd") as guarded:
        guarded.go_on()
        node.run("podman", "restart", "flowd")
        node.wait_healthy("flowd")
        guarded.go_on()
        guarded.check("at the restart")
        node.run("podman", "stop", "flowd")
        assert node.inspect("flowd")["State"]["ExitCode"] == 0
        guarded.go_on()
        node.run("podman", "start", "flowd")
        node.wait_healthy("flowd")
        guarded.go_on()
        guarded.check("while there was no flowd")
        assert Api(pair.near).live() >= 2
        guarded.end()
    node.run("podman", "rm", "--force", "flowd")


def test_compose(pair, node, pin_path, announce, directory):
    """docker-compose by Podman's socket: up, reload, another container in the place of the first, down."""
    node.shell(f"printf '[containers]\\nseccomp_profile = \"{FILTER}\"\\n' >>{SETTINGS}")
    (directory / "config.json").write_text((TREE / "packaging/kubernetes/daemonset/config.json").read_text())
    socket = "unix:///run/podman.sock"
    compose = f"FLOWD_CONFIG={directory}/config.json DOCKER_HOST={socket} {COMPOSE}"
    with open(directory / "service.log", "wb") as log:
        node.popen("podman", "system", "service", "--time=0", socket, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    until(lambda: node.run("test", "-S", "/run/podman.sock", check=False).returncode == 0,
          (directory / "service.log").read_text)
    node.shell(f"{compose} up -d")
    node.wait_healthy("flowd")
    is_as_said(node, "flowd")
    wait_marked(pair, announce)
    node.shell(f"{compose} kill -s HUP flowd")
    until(lambda: "config: reloaded" in node.log("flowd"), lambda: node.log("flowd"))
    assert "ready" in node.shell(f"{compose} exec -T flowd /usr/bin/flowctl ready").stdout
    before = node.inspect("flowd")["Id"]
    with Guarded(pair, pin_path / "flowd") as guarded:
        guarded.go_on()
        node.shell(f"{compose} up -d --force-recreate")
        node.wait_healthy("flowd")
        assert node.inspect("flowd")["Id"] != before
        guarded.go_on()
        guarded.check("while the container was replaced")
        guarded.end()
    node.shell(f"{compose} down")
    assert node.run("podman", "ps", "--all", "--quiet").stdout == ""


def busybox(path):
    """An image of a service: a shell, and what writes to a fifo."""
    with tarfile.open(path, "w") as tar:
        tar.add(pathlib.Path(shutil.which("busybox")).resolve(), "bin/busybox")
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link, io.BytesIO())


def pod_of_podman(form):
    """What Podman 4.3 takes of a manifest: no init container that goes on, no ports in the host's network."""
    objects = kustomized(form)
    template = workload(objects)["spec"]["template"]
    pod = template["spec"]
    pod["containers"] = [*pod.pop("initContainers", ()), *pod["containers"]]
    for container in pod["containers"]:
        container.pop("ports", None)
        container.pop("restartPolicy", None)
        if container["name"] == "transfer":
            container["command"] = ["/bin/sh", "-c", "exec busybox sleep 3600"]
    name = "container.seccomp.security.alpha.kubernetes.io/flowd"
    metadata = {"name": "pod", "labels": template["metadata"]["labels"],
                "annotations": {name: f"localhost/{pathlib.Path(FILTER).name}"}}
    return [one_of(objects, "ConfigMap"), {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}]


@pytest.mark.parametrize("form", FORMS)
def test_manifests(pair, node, announce, directory, form):
    """podman play kube: flowd's pod, and in the sidecar's the service announces the flow."""
    busybox(directory / "busybox.tar")
    node.run("podman", "import", directory / "busybox.tar", "transfer:latest")
    path = directory / "pod.yaml"
    path.write_text(yaml.safe_dump_all(pod_of_podman(form)))
    node.run("podman", "play", "kube", "--network", "host", "--seccomp-profile-root", pathlib.Path(FILTER).parent, path)
    flowd = "pod-" + flowd_of(workload(kustomized(form))["spec"]["template"]["spec"])["name"]
    until(lambda: node.run("podman", "exec", flowd, "/usr/bin/flowctl", "ready", check=False).returncode == 0,
          lambda: node.log(flowd), interval=0.2)
    is_as_said(node, flowd)

    def from_the_service(text):
        node.run("podman", "exec", "-i", "pod-transfer", "/bin/sh", "-c", "busybox cat >/run/flowd.d/fifo", input=text)

    wait_marked(pair, from_the_service if form == "sidecar" else announce)
    node.run("podman", "play", "kube", "--down", path)
    assert node.run("podman", "ps", "--all", "--quiet").stdout == ""
