# SPDX-License-Identifier: Apache-2.0
"""
The kernel does not load or attach the marker: the log, /readyz and the status name the cause and the
remedy; flowd goes on without it where a right is missing, and ends where something else is wrong.
"""

import contextlib
import errno
import os
import pathlib
import sys

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.kernel_bpf import Counter
from lab.netns import Pair
from test_attach import Probe, egress_filters, qdiscs
from lab.waiting import until

REFUSE = [sys.executable, pathlib.Path(__file__).with_name("lab") / "refuse_bpf.py"]
WITHOUT_PERFMON = ["setpriv", "--bounding-set=-perfmon,-sys_admin"]
WITHOUT_BTF = ["unshare", "--mount", "--", "sh", "-c",
               'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh"]
STRATEGIES = ["label", "hopByHop", "destination", "hopByHopDestination"]


def detail(namespace):
    """Why /readyz says no; "" where it does not."""
    answer = Api(namespace).get("/readyz").expect(200, 503)
    return answer.json["detail"] if answer.status == 503 else ""


def holds(text, *words):
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"


@pytest.mark.parametrize("prefix,marker,words", [
    (["setpriv", "--bounding-set=-bpf,-sys_admin"], {}, ["missing: CAP_BPF;", "root", "--cap-add"]),
    (["setpriv", "--bounding-set=-net_admin"], {}, ["missing: CAP_NET_ADMIN;", "root", "--cap-add"]),
    (WITHOUT_PERFMON, {"debugMode": True}, ["CAP_PERFMON", "set debugMode to false"]),
    (["unshare", "--user", "--map-root-user"], {}, ["user namespace", "host's root"]),
    ([*REFUSE, errno.EPERM], {}, ["seccomp", "SystemCallFilter"]),
    ([*REFUSE, errno.ENOSYS], {}, ["seccomp", "SystemCallFilter"]),
    ([*REFUSE, errno.EPERM], {"markingStrategy": "hopByHop"}, ["seccomp", "SystemCallFilter"]),
], ids=["bpf", "net_admin", "perfmon", "user namespace", "seccomp EPERM", "seccomp ENOSYS",
        "seccomp, options"])
def test_a_right_is_missing(pair, make_flowd, directory, pin_path, prefix, marker, words):
    """flowd goes on without the marker and says what to do."""
    config = base_config(directory, pin_path, **marker)
    daemon = make_flowd(pair.near, config, prefix=prefix).start()
    errors = [line for line in daemon.log().splitlines() if " error " in line]
    assert len(errors) == 1, daemon.log()
    holds(errors[0], "marker", *words, "goes on without it")
    holds(detail(pair.near), "without backends.marker", *words)
    about = Api(pair.near).module("marker")
    assert about["state"] == "failed"
    holds(about["reason"], *words)
    flow = Api(pair.near).post(event(Pair.NEAR, 1, Pair.FAR, 2)).expect(201).json
    assert "marker" not in flow["backends"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_perfmon(pair, make_flowd, directory, pin_path, strategy):
    """CAP_PERFMON is no condition: only the MTU of routes is not read, which the log says if it matters."""
    config = base_config(directory, pin_path, markingStrategy=strategy)
    daemon = make_flowd(pair.near, config, prefix=WITHOUT_PERFMON).start()
    assert detail(pair.near) == ""
    warned = "MTU of routes" in daemon.log() and "CAP_PERFMON" in daemon.log()
    assert warned == (strategy != "label"), daemon.log()
    if strategy == "label":
        with Probe(pair) as probe:
            probe.start(pair.near)
            assert probe.marked()


@pytest.mark.parametrize("strategy", ["label", "hopByHop"])
def test_without_btf(pair, make_flowd, directory, pin_path, strategy):
    """A kernel that does not describe its structures is no obstacle, and no reason to speak for label."""
    config = base_config(directory, pin_path, markingStrategy=strategy)
    daemon = make_flowd(pair.near, config, prefix=WITHOUT_BTF).start()
    assert detail(pair.near) == ""
    warned = "MTU of routes" in daemon.log() and "/sys/kernel/btf" in daemon.log()
    assert warned == (strategy != "label"), daemon.log()
    assert ("warning" in daemon.log()) == warned, daemon.log()


@pytest.mark.parametrize("limit", [8, 12, 16, 20, 24, 28, 32, 36, 48])
def test_few_files(pair, make_flowd, directory, pin_path, limit):
    """However low the limit: either it works, or what is said names the limit and the remedy."""
    config = base_config(directory, pin_path)
    config["enrichers"] = {"skops": {}}
    daemon = make_flowd(pair.near, config, prefix=["prlimit", f"--nofile={limit}:{limit}"])
    daemon.start(ready=False)
    until(lambda: not daemon.running() or "ready" in daemon.log(), "the start, or its end")
    assert f"only {limit} files may be open" in daemon.log()
    assert "please report" not in daemon.log()
    assert "tcp_diag" not in daemon.log()
    if not daemon.running():
        assert daemon.wait_exit() == 1
    elif "daemon: ready, but too few file descriptors are left" not in daemon.log():
        assert Api(pair.near).get("/readyz").status == 200


def test_without_proc(pair, make_flowd, directory, pin_path):
    """It is a cause that can be named. A sanitizer, which needs /proc itself, sets the exit status."""
    hide = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc; exec "$@"', "-"]
    daemon = make_flowd(pair.near, base_config(directory, pin_path), prefix=hide)
    daemon.start(ready=False)
    assert daemon.wait_exit() != 0
    assert "there is no /proc, which loading needs: mount it" in daemon.log()


def test_without_dev(make_flowd, single, directory):
    """A container may have no /dev: flowd needs nothing of it, not even with its input closed."""
    hide = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev; exec "$@" <&-', "-"]
    daemon = make_flowd(single, base_config(directory), prefix=hide).start()
    assert Api(single).get("/readyz").status == 200
    assert os.readlink(f"/proc/{daemon.pid}/fd/0") == "/"


def test_locked_memory(pair, make_flowd, directory, pin_path):
    """The limit of old kernels keeps no newer one from marking."""
    prefix = ["setpriv", "--bounding-set=-sys_resource,-sys_admin", "prlimit", "--memlock=0:0"]
    make_flowd(pair.near, base_config(directory, pin_path), prefix=prefix).start()
    with Probe(pair) as probe:
        probe.start(pair.near)
        assert probe.marked()


@contextlib.contextmanager
def memory_cgroup(limit):
    """A memory cgroup of either version; gives the file that takes processes."""
    root = pathlib.Path("/sys/fs/cgroup")
    first = root / "memory"
    controllers = root / "cgroup.controllers"
    if controllers.exists() and "memory" in controllers.read_text().split():
        if "memory" not in (root / "cgroup.subtree_control").read_text().split():
            (root / "cgroup.subtree_control").write_text("+memory")
        first, name = root, "memory.max"
    elif (first / "memory.limit_in_bytes").exists():
        name = "memory.limit_in_bytes"
    else:
        pytest.skip("no memory cgroup is mounted")
    group = first / f"flowd-e2e-{os.getpid()}"
    group.mkdir()
    try:
        (group / name).write_text(str(limit))
        yield group / "cgroup.procs"
    finally:
        def removed():
            # A process that has ended may still be counted for a moment.
            with contextlib.suppress(OSError):
                group.rmdir()
            return not group.exists()

        until(removed, "the cgroup is removed")


def test_memory_limit(pair, make_flowd, directory, pin_path):
    """A flow map that does not fit flowd's cgroup ends the start and says how large it would be."""
    config = base_config(directory, pin_path)
    config["flows"] = {"max": 4194304}
    with memory_cgroup(128 << 20) as members:
        prefix = ["sh", "-c", f'echo $$ >{members} && exec "$@"', "sh"]
        daemon = make_flowd(pair.near, config, prefix=prefix).start(ready=False)
        assert daemon.wait_exit() == 1, daemon.log()
    holds(daemon.log(), "backends.marker", "flows.max", "MemoryMax", "the flow map takes 142 MiB")


def test_ingress_qdisc(pair, make_flowd, directory, pin_path):
    """
    It takes filters for clsact's egress and runs them on what comes in: nothing is attached to it,
    until there is a clsact, which is not flowd's to remove.
    """
    pair.near.run("tc", "qdisc", "add", "dev", "veth0", "ingress")
    daemon = make_flowd(pair.near, base_config(directory, pin_path, attach="tc")).start()
    holds(detail(pair.near), "veth0", '"ingress"', "replace it by clsact", "tc qdisc show dev veth0")
    assert "ingress" in qdiscs(pair.near)
    assert pair.near.run("tc", "filter", "show", "dev", "veth0", "ingress").stdout == ""
    pair.near.run("tc", "qdisc", "del", "dev", "veth0", "ingress")
    pair.near.run("tc", "qdisc", "add", "dev", "veth0", "clsact")
    until(lambda: detail(pair.near) == "", "the marker is attached")
    assert "flowd_marker" in egress_filters(pair.near)
    daemon.stop()
    assert "clsact" in qdiscs(pair.near) and egress_filters(pair.near) == ""


def test_tcx_is_full(pair, make_flowd, directory, pin_path):
    """The kernel takes a number of programs; when one goes, flowd's has its place."""
    counters = []
    try:
        with pytest.raises(OSError) as refused:
            for _ in range(100):
                counters.append(Counter())
                counters[-1].attach_tcx(pair.near, "veth0")
        assert refused.value.errno == errno.ERANGE
        counters.pop().close()
        daemon = make_flowd(pair.near, base_config(directory, pin_path, attach="tcx")).start()
        holds(detail(pair.near), "veth0", f"({len(counters)})", "detach one",
              "bpftool net show dev veth0")
        assert daemon.log().count("packets are not marked") == 1, daemon.log()
        counters.pop().close()
        until(lambda: detail(pair.near) == "", "the marker is attached")
        daemon.stop()
    finally:
        for counter in counters:
            counter.close()


def test_handles_are_taken(pair, make_flowd, directory, pin_path, bpffs):
    """Filters of somebody else are in the way; none of them is touched."""
    foreign = Counter()
    path = bpffs / "foreign"
    try:
        foreign.pin(path)
        pair.near.run("tc", "qdisc", "add", "dev", "veth0", "clsact")
        for priority in range(1, 9):
            pair.near.run("tc", "filter", "add", "dev", "veth0", "egress", "prio", str(priority),
                          "handle", "0xf10d", "bpf", "da", "pinned", str(path))
        before = egress_filters(pair.near)
        make_flowd(pair.near, base_config(directory, pin_path, attach="tc")).start()
        holds(detail(pair.near), "veth0", "0xf10d", "remove one", "tc filter show dev veth0 egress")
        assert egress_filters(pair.near) == before
        pair.near.run("tc", "filter", "del", "dev", "veth0", "egress", "prio", "8")
        until(lambda: detail(pair.near) == "", "the marker is attached")
    finally:
        path.unlink(missing_ok=True)
        foreign.close()


@pytest.mark.parametrize("environment,told", [({"INVOCATION_ID": "0" * 32}, True), ({}, False)])
def test_a_service_is_kept_from_a_place(single, make_flowd, directory, environment, told):
    """What is refused to a service's user points to where its rights are explained, and nothing else does."""
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    config = base_config(directory)
    config["stateDir"] = str(closed / "state")
    daemon = make_flowd(single, config, environment=environment,
                        prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    assert daemon.start(ready=False).wait_exit() == 1, daemon.log()
    holds(daemon.log(), str(closed), "Permission denied")
    assert ("To loosen it" in daemon.log()) == told


def test_read_only_bpffs(pair, make_flowd, directory):
    """Pins can't be made: the start ends and names the path."""
    place = directory / "read-only"
    place.mkdir()
    prefix = ["unshare", "--mount", "--", "sh", "-c",
              f'mount -t bpf -o ro none {place} && exec "$@"', "sh"]
    daemon = make_flowd(pair.near, base_config(directory, place / "flowd"), prefix=prefix)
    assert daemon.start(ready=False).wait_exit() == 1, daemon.log()
    holds(daemon.log(), "backends.marker", str(place / "flowd"), "Read-only file system")
