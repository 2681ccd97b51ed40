# SPDX-License-Identifier: Apache-2.0
"""flowd with the rights, the file systems and the system-call filter that the manifests give it: it marks."""

import contextlib
import os
import pathlib
import tempfile
import uuid

import pytest

from lab.api_client import Api
from lab.marked import wait_marked
from lab.waiting import until
from manifests import configuration_of, flowd_of, kustomized, pod_of, run
from pods import Container, make_image, oci
from test_continuity import Guarded

CAPABILITIES = (1 << 12) | (1 << 38) | (1 << 39)  # NET_ADMIN, PERFMON, BPF


@pytest.fixture(scope="session")
def image():
    """The root file system of the real image, if FLOWD_IMAGE names it (make test-static)."""
    if os.environ.get("FLOWD_IMAGE"):
        yield pathlib.Path(os.environ["FLOWD_IMAGE"])
        return
    with tempfile.TemporaryDirectory(prefix="flowd-image-") as place:
        yield make_image(pathlib.Path(place))


@pytest.fixture
def make_pod(pair, directory, pin_path, image):
    """Makes flowd's container of a form; its volumes are directories of the test, the node's bpffs is `pin_path`."""
    pair.near.ip("link", "property", "add", "dev", "veth0", "altname", "eth0")
    with contextlib.ExitStack() as stack:
        def make(form, **options):
            objects = kustomized(form)
            pod, place = pod_of(objects), directory / uuid.uuid4().hex[:8]
            spec = flowd_of(pod)
            volumes = {}
            for volume in pod["volumes"]:
                kind = volume["name"].removeprefix("flowd-")
                volumes[volume["name"]] = pin_path if kind == "bpffs" else directory / kind
            pathlib.Path(pin_path).mkdir(exist_ok=True)
            for path in volumes.values():
                path.mkdir(exist_ok=True)
            (directory / "config" / "config.json").write_text(configuration_of(objects))
            place.mkdir()
            document = oci(pod, spec, pair.near, volumes, **options)
            made = Container(place, image, f"flowd-test-{place.name}", document, spec, pair.near)
            stack.callback(made.remove)
            return made

        yield make


@pytest.fixture
def announce(directory):
    """Writes a line into the fifo as an ordinary user."""

    def write(text):
        run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "tee", directory / "fifo" / "fifo"], input=text)

    return write


@pytest.mark.parametrize("form", ["daemonset", "sidecar"])
def test_marks_with_these_rights(pair, make_pod, announce, form):
    pod = make_pod(form).start()
    pod.wait_ready()
    assert pod.probe("livenessProbe")[0]
    wait_marked(pair, announce)
    status = pod.status()
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {f"{CAPABILITIES:016x}"}
    assert (status["CapInh"], status["CapAmb"]) == ("0" * 16,) * 2
    assert (status["NoNewPrivs"], status["Seccomp"], status["Uid"].split()) == ("1", "2", ["0"] * 4)
    api = Api(pair.near)
    interfaces = [(one["name"], one["state"]) for one in api.status()["interfaces"]]
    assert interfaces == [("veth0" if form == "daemonset" else "eth0", "attached")]
    warnings = [one for one in pod.log().splitlines() if " warning " in one or " error " in one]
    assert [one for one in warnings if "marks without pins" not in one] == []
    assert len(warnings) == (form == "sidecar")
    pod.stop()


def test_readiness_waits_for_the_interface(pair, make_pod, announce):
    """The service beside it is not started by a flowd that can't mark; what the probe says helps."""
    pod = make_pod("sidecar")
    pair.near.ip("link", "property", "del", "dev", "veth0", "altname", "eth0")
    pod.start()
    until(lambda: pod.probe("livenessProbe")[0], "an answer")
    passed, said = pod.probe("startupProbe")
    assert not passed and "eth0" in said, said
    pair.near.ip("link", "property", "add", "dev", "veth0", "altname", "eth0")
    until(lambda: pod.probe("startupProbe")[0], "readiness")
    wait_marked(pair, announce)
    pod.stop()


def test_rolling_update(pair, make_pod, pin_path):
    """The next pod of the DaemonSet takes over what the former one leaves: no packet is unmarked."""
    pod = make_pod("daemonset").start()
    pod.wait_ready()
    with Guarded(pair, pathlib.Path(pin_path) / "flowd") as guarded:
        for number in range(2):
            guarded.go_on()
            pod.stop()
            guarded.go_on()
            pod = make_pod("daemonset").start()
            pod.wait_ready()
            guarded.check(f"update {number}")
        assert Api(pair.near).live() == 2
        guarded.end()
    pod.stop()


def test_a_filter_without_bpf(make_pod):
    """Where RuntimeDefault wants CAP_SYS_ADMIN for bpf(2), flowd is not ready, and says what it lacks."""
    pod = make_pod("daemonset", bpf_by_capability=False).start()
    until(lambda: pod.probe("livenessProbe")[0], lambda: f"an answer\n{pod.log()}")
    passed, said = pod.probe("readinessProbe")
    assert not passed and "backends.marker" in said and "seccomp" in said, said
    pod.stop()
