# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the daemon, its directory, its namespaces. What a test makes is gone when it ends."""

import atexit
import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from lab import isolation
from lab.api_client import Api
from lab.daemon_config import base_config
from lab.enriching import COLLECTOR_PORT, PERIOD_MS
from lab.flowd_process import FLOWCTL, FLOWD, Flowd, one_shot
from lab.netns import Namespace, Pair

STRICT = os.environ.get("FLOWD_TEST_STRICT") == "1"
_pin_numbers = itertools.count()


def pytest_configure(config):
    """A TERM, such as a CI system sends, ends the run as an interrupt does: with all clean-ups."""

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In strict mode a skip is a failure; a failure shows the daemons' logs."""
    outcome = yield
    report = outcome.get_result()
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in strict mode: {report.longrepr}"
    if report.when == "call":
        item.failed = report.failed
        if report.failed:
            for daemon in getattr(item, "daemons", ()):
                report.sections.append((f"log of flowd in {daemon.directory}", daemon.log()[-20000:]))


def pytest_collection_modifyitems(config, items):
    reason = None
    if os.geteuid() != 0:
        reason = "needs root: it makes network namespaces and loads BPF"
    elif isolation.refusal(("unshare", "--net")):
        reason = f"no network namespace can be made here: {isolation.refusal(('unshare', '--net'))}"
    if reason is not None:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def programs():
    for program in (FLOWD, FLOWCTL):
        if not program.exists():
            pytest.exit(f"{program} is not there; build first or set FLOWD_BIN_DIR", 3)


@pytest.fixture
def directory():
    """A directory that the daemon may use under any user."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="flowd-e2e-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def bpffs():
    """A BPF file system of this run's own."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="flowd-bpffs-"))
    mounted = subprocess.run(["mount", "-t", "bpf", "bpf", str(path)], capture_output=True, text=True,
                             check=False)
    if mounted.returncode != 0:
        path.rmdir()
        pytest.skip(f"no BPF file system can be mounted: {mounted.stderr.strip()}")

    def unmount():
        subprocess.run(["umount", str(path)], check=False, capture_output=True)
        with_remains = path.exists() and not any(path.iterdir())
        if with_remains:
            path.rmdir()

    atexit.register(unmount)
    yield path
    unmount()
    atexit.unregister(unmount)


def stop_daemons(node):
    """
    Ends the test's daemons, before anything that they stand on is taken away: the first fixture that
    is torn down does it.
    """
    failed = getattr(node, "failed", True)
    problems = []
    daemons = getattr(node, "daemons", [])
    while daemons:
        daemon = daemons.pop()
        try:
            if failed:
                daemon.abandon()
            else:
                daemon.close()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture
def pin_path(request, bpffs):
    path = bpffs / f"flowd{next(_pin_numbers)}"
    try:
        yield path
        stop_daemons(request.node)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def pair(request):
    """Two joined namespaces."""
    joined = Pair()
    try:
        yield joined
        stop_daemons(request.node)
    finally:
        joined.remove()


@pytest.fixture
def single(request):
    """One namespace with its loopback."""
    space = Namespace()
    try:
        yield space
        stop_daemons(request.node)
    finally:
        space.remove()


@pytest.fixture
def make_flowd(request, directory):
    """Makes daemons (not started) whose ends are checked when the test ends."""
    request.node.daemons = []

    def make(namespace, config, name="flowd", **options):
        place = directory / name
        place.mkdir(mode=0o777)
        place.chmod(0o777)
        daemon = Flowd(place, namespace, config, **options)
        request.node.daemons.append(daemon)
        return daemon

    yield make
    stop_daemons(request.node)


@pytest.fixture
def marking(make_flowd, pair, directory, pin_path):
    """A running daemon that marks on the near side of `pair`, with its API client."""

    def start(attach="auto", firefly=None, **changes):
        config = base_config(directory, pin_path, attach=attach)
        if firefly is not None:
            config["backends"]["firefly"] = firefly
        config.update(changes)
        daemon = make_flowd(pair.near, config).start()
        daemon.api = Api(pair.near)
        return daemon

    return start


@pytest.fixture
def plain(make_flowd, single, directory):
    """A running daemon without marker in a namespace of its own, with its API client."""

    def start(backends=None, api=None, **changes):
        config = base_config(directory)
        config["backends"] = backends or {}
        config["plugins"]["api"].update(api or {})
        config.update(changes)
        daemon = make_flowd(single, config).start()
        daemon.api = Api(single)
        return daemon

    return start


@pytest.fixture
def flowd_command(directory):
    """Runs `flowd ARGUMENTS` to its end."""

    def run(*arguments, **options):
        return one_shot(directory, *arguments, **options)

    return run


@pytest.fixture
def watching(make_flowd, pair, directory):
    """A daemon without marker on the near side, with its API client."""

    def start(end_on_close=True, prefix=(), **changes):
        config = base_config(directory)
        config["flows"] = {"endOnClose": end_on_close}
        config.update(changes)
        daemon = make_flowd(pair.near, config, prefix=prefix).start()
        daemon.api = Api(pair.near)
        return daemon

    return start


@pytest.fixture
def enriching(make_flowd, pair, directory):
    """A daemon on the near side that samples and sends fireflies to the far side."""

    def start(period=PERIOD_MS, enrichers=None, flows=None, plugins=None, **firefly):
        config = base_config(directory)
        config["plugins"].update(plugins or {})
        config["enrichers"] = {"period": period, **({"netlink": {}} if enrichers is None else enrichers)}
        config["flows"] = flows or {"endOnClose": True}
        config["backends"] = {"firefly": {"sendToDestination": False,
                                          "collectors": [f"{Pair.FAR4}:{COLLECTOR_PORT}"], **firefly}}
        daemon = make_flowd(pair.near, config).start()
        daemon.api = Api(pair.near)
        return daemon

    return start
