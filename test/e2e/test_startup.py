# SPDX-License-Identifier: Apache-2.0
"""Starts that must fail, and starts that must not: what is in the way is named and left alone."""

import fcntl
import grp
import json
import os
import shutil
import signal
import socket
import stat

import pytest

from lab.api_client import Api, event, line
from lab.collector import DATA, Collector
from lab.daemon_config import base_config
from lab.flowd_process import FLOWD
from lab.netns import Pair
from lab.waiting import until


def fails(daemon, *words, status=1):
    """Starts a daemon that must end by itself and say why."""
    daemon.start(ready=False)
    assert daemon.wait_exit() == status, daemon.log()
    for word in words:
        assert word in daemon.log(), f"{word!r} is not in the log:\n{daemon.log()}"
    return daemon


def goes_on(daemon, *words):
    """Starts a daemon that is up, and not ready for a reason with all the words, also in the log."""
    daemon.start()
    ready = daemon.wait_log(r"ready, but .*").group()
    for word in words:
        assert word in ready, f"{word!r} is not in {ready!r}"
    assert daemon.log().count(" error ") == 1, daemon.log()
    return daemon


def is_served(api):
    try:
        return api.get("/readyz").status == 200
    except OSError:
        api.close()
        return False


def test_port_in_use(make_flowd, pair, directory, pin_path):
    """Packets are marked all the same; the API is there as soon as the port is free."""
    config = base_config(directory, pin_path)
    config["plugins"]["api"]["socketPath"] = str(directory / "api.sock")
    with pair.near.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 7777))
        other.listen()
        daemon = goes_on(make_flowd(pair.near, config), "api", "127.0.0.1:7777", "in use")
        local = Api(path=directory / "api.sock")
        local.get("/readyz").problem(503, "127.0.0.1:7777", "in use")
        about = local.module("api")
        assert about["listeners"] == [str(directory / "api.sock")]
        assert [one["listener"] for one in about["notListening"]] == ["127.0.0.1:7777"]
        daemon.write_fifo(line("start", Pair.NEAR, 1, Pair.FAR, 2))
        until(lambda: local.live() == 1, "a flow through the fifo")
        assert local.flows()[0]["backends"]["marker"] == "marked"
    api = Api(pair.near)
    until(lambda: is_served(api), "the API")
    assert api.live() == 1 and local.module("api")["notListening"] == []
    assert daemon.log().count(" error ") == 1, daemon.log()


@pytest.mark.parametrize("address,prefix", [("192.0.2.99", 24), ("2001:db8::99", 64)])
def test_address_that_comes_later(make_flowd, pair, directory, address, prefix):
    """API and metrics on an address that no interface has yet."""
    config = base_config(directory)
    config["plugins"]["api"]["bindAddress"] = address
    config["backends"]["prometheus"] = {"bindAddress": address}
    daemon = make_flowd(pair.near, config).start()
    assert "ready, but" in daemon.log() and address in daemon.log(), daemon.log()
    daemon.write_fifo(line("start", Pair.NEAR, 1, Pair.FAR, 2))
    pair.near.add_address("veth0", f"{address}/{prefix}")
    api = Api(pair.near, address)
    until(lambda: is_served(api), "the API")
    until(lambda: api.live() == 1, "the flow")
    assert Api(pair.near, address, 9000).get("/metrics").status == 200


def test_socket_path_is_a_file(make_flowd, single, directory):
    config = base_config(directory)
    path = directory / "api.sock"
    path.write_text("precious")
    config["plugins"]["api"]["socketPath"] = str(path)
    goes_on(make_flowd(single, config), str(path), "is not a socket")
    assert path.read_text() == "precious"
    Api(single).get("/readyz").problem(503, str(path))
    path.unlink()
    until(lambda: is_served(Api(path=path)), "the API at its path")


def test_socket_path_is_in_use(make_flowd, single, directory):
    config = base_config(directory)
    path = directory / "api.sock"
    config["plugins"]["api"]["socketPath"] = str(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        before = os.stat(path).st_ino
        goes_on(make_flowd(single, config), str(path), "in use")
        assert os.stat(path).st_ino == before
    until(lambda: is_served(Api(path=path)), "the API at its path")


def test_socket_path_in_a_directory_that_comes_later(make_flowd, single, directory):
    config = base_config(directory)
    path = directory / "later" / "api.sock"
    config["plugins"]["api"]["socketPath"] = str(path)
    goes_on(make_flowd(single, config), str(path))
    path.parent.mkdir()
    until(lambda: is_served(Api(path=path)), "the API at its path")


def test_the_api_is_the_only_input(make_flowd, single, directory):
    """It is up and says that it is not ready."""
    config = base_config(directory)
    del config["plugins"]["namedPipe"]
    config["backends"]["prometheus"] = {}
    with single.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 7777))
        other.listen()
        goes_on(make_flowd(single, config), "api", "in use")


def test_flow_log_that_can_not_be_opened(make_flowd, single, directory):
    """The lines wait for their file."""
    config = base_config(directory)
    path = directory / "later" / "flows"
    config["backends"]["log"] = {"path": str(path)}
    daemon = goes_on(make_flowd(single, config), "log", str(path))
    api = Api(single)
    assert api.post(event("2001:db8::1", 1, "2001:db8::2", 2)).json["backends"]["log"] == "failed"
    api.get("/readyz").problem(503, str(path))
    path.parent.mkdir()
    until(lambda: is_served(api), "the file")
    until(lambda: "2001:db8::1" in path.read_text(), "the line")
    assert api.post(event("2001:db8::1", 2, "2001:db8::2", 2)).json["backends"]["log"] == "logged"
    assert len(path.read_text().splitlines()) == 2
    assert daemon.log().count(" error ") == 1, daemon.log()


def test_pid_file_that_can_not_be_written(make_flowd, single, directory):
    config = base_config(directory)
    config["pidPath"] = str(directory / "nowhere" / "pid")
    daemon = make_flowd(single, config).start()
    daemon.wait_log(r"error .*pidPath .*nowhere/pid")
    assert is_served(Api(single))


def _file(path):
    path.write_text("precious")


def _directory(path):
    path.mkdir()
    (path / "precious").write_text("precious")


def _link_to_file(path):
    target = path.with_name("target")
    target.write_text("precious")
    path.symlink_to(target)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize("make", [_file, _directory, _link_to_file, _socket])
def test_fifo_path_is_something_else(make_flowd, single, directory, make):
    """It is an error and it is left alone."""
    config = base_config(directory)
    path = directory / "fifo"
    make(path)
    before = (os.lstat(path), sorted(directory.rglob("precious")))
    fails(make_flowd(single, config), str(path), "fifo")
    after = (os.lstat(path), sorted(directory.rglob("precious")))
    assert (before[0].st_mode, before[0].st_ino, before[0].st_size) == \
        (after[0].st_mode, after[0].st_ino, after[0].st_size)
    assert before[1] == after[1]


def _dangling_link(path):
    path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize("make", [_file, _dangling_link])
def test_fifo_path_becomes_something_else(make_flowd, single, directory, make):
    """While flowd runs: it isn't ready until it can read its fifo again."""
    daemon = make_flowd(single, base_config(directory)).start()
    api = Api(single)
    path = directory / "fifo"
    make(directory / "other")
    (directory / "other").rename(path)
    until(lambda: api.get("/readyz").status == 503, "/readyz to say so")
    until(lambda: not api.module("namedPipe")["open"], "the status to say so")
    api.get("/readyz").problem(503, "plugins.namedPipe: the fifo is not open: ", str(directory))
    path.rename(directory / "aside")
    until(lambda: api.get("/readyz").status == 200, "/readyz after the path is free")
    assert api.module("namedPipe")["open"]
    daemon.write_fifo(line("start", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: api.live() == 1, "a flow through the fifo")
    assert daemon.log().count(" error ") == 1, daemon.log()


def test_fifo_in_a_directory_that_is_not_there(make_flowd, single, directory):
    """The last directory is made, for everybody to pass; no others are."""
    config = base_config(directory)
    config["plugins"]["namedPipe"]["pipePath"] = str(directory / "none" / "deeper" / "fifo")
    fails(make_flowd(single, config), str(directory / "none" / "deeper"))
    config["plugins"]["namedPipe"]["pipePath"] = str(directory / "none" / "fifo")
    daemon = make_flowd(single, config, name="second").start()
    assert stat.S_IMODE(os.stat(directory / "none").st_mode) == 0o755
    daemon.write_fifo(line("start", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: Api(single).live() == 1, "a flow through the fifo")


def test_fifo_behind_a_link(make_flowd, single, directory):
    """Read, and found again when it is removed and when the link leads to another one."""
    config = base_config(directory)
    for name in ("first", "second"):
        os.mkfifo(directory / name)
    (directory / "fifo").symlink_to("first")
    daemon = make_flowd(single, config).start()
    daemon.write_fifo(line("start", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: Api(single).live() == 1, "a flow through the link")
    mark = daemon.log_size()
    (directory / "new").symlink_to("second")
    (directory / "new").rename(directory / "fifo")
    daemon.wait_log("opened it again", mark)
    daemon.write_fifo(line("start", "2001:db8::1", 3, "2001:db8::2", 4))
    until(lambda: Api(single).live() == 2, "a flow through the other fifo")
    mark = daemon.log_size()
    (directory / "second").unlink()
    daemon.wait_log("can't be opened again", mark)
    os.mkfifo(directory / "second")
    daemon.wait_log("opened it again", mark)


def test_locks_of_writers_keep_nobody_from_starting(make_flowd, single, directory):
    """Who may write lines may lock the fifo as well, which is no matter; a second flowd is."""
    config = base_config(directory)
    os.mkfifo(directory / "fifo")
    os.chmod(directory / "fifo", 0o666)
    with open(os.open(directory / "fifo", os.O_RDWR), "wb", buffering=0) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        daemon = make_flowd(single, config).start()
        second = base_config(directory)
        second["stateDir"] = str(directory / "state2")
        del second["plugins"]["api"]
        fails(make_flowd(single, second, name="second"), "another flowd is reading")
    daemon.kill()
    make_flowd(single, second, name="third").start()


def mode_of(daemon):
    return stat.S_IMODE(os.stat(daemon.fifo_path).st_mode)


def test_fifo_mode_that_changes(make_flowd, single, directory):
    """Applied to the fifo that flowd made, at a reload and at the next start; the log says so."""
    config = base_config(directory)
    pipe = config["plugins"]["namedPipe"]
    pipe["mode"] = "0600"
    daemon = make_flowd(single, config, prefix=["env", "sh", "-c", "umask 077; exec \"$@\"", "-"]).start()
    assert mode_of(daemon) == 0o600
    pipe["mode"] = "0644"
    assert "mode 0644" in daemon.reload(config, expect="reloaded")
    assert mode_of(daemon) == 0o644
    daemon.stop()
    del pipe["mode"]
    mark = daemon.log_size()
    daemon.start()
    assert mode_of(daemon) == 0o666 and "mode 0666" in daemon.log(mark)
    daemon.stop()
    os.unlink(daemon.fifo_path)
    os.mkfifo(daemon.fifo_path)
    os.chmod(daemon.fifo_path, 0o640)
    mark = daemon.log_size()
    daemon.start()
    assert mode_of(daemon) == 0o640, "it is somebody else's"
    assert "its mode 0640 stays, not 0666" in daemon.log(mark)
    pipe["group"] = "nogroup"
    assert "its group 0 stays, not nogroup" in daemon.reload(config, expect="reloaded")


def test_fifo_group_that_changes(make_flowd, single, directory):
    """At the next start; flowd may not give files away to strangers once it is set up."""
    config = base_config(directory)
    pipe = config["plugins"]["namedPipe"]
    daemon = make_flowd(single, config).start()
    pipe["group"] = "nogroup"
    assert "needs a restart" in daemon.reload(config, expect="reloaded")
    daemon.stop()
    daemon.start()
    assert os.stat(daemon.fifo_path).st_gid == grp.getgrnam("nogroup").gr_gid
    daemon.stop()
    del pipe["group"]
    daemon.start()
    assert os.stat(daemon.fifo_path).st_gid == os.getegid()


NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all"]


def test_group_of_others_is_an_error(make_flowd, single, directory):
    """An input that can't be as configured is not left out as if it were the marker."""
    config = base_config(directory)
    config["plugins"]["namedPipe"]["group"] = "adm"
    program = shutil.copy2(FLOWD, directory / "program")
    remedy = "start flowd as root, or add its user to the group"
    fails(make_flowd(single, config, prefix=NOBODY, program=program),
          "plugins.namedPipe", "group adm", remedy)
    assert not (directory / "fifo").exists()
    config["plugins"] = {"api": {"bindPort": 0, "socketPath": str(directory / "socket"),
                                 "socketGroup": "adm"}}
    daemon = make_flowd(single, config, name="second", prefix=NOBODY, program=program)
    daemon.start(ready=False)
    said = daemon.wait_log(r"ready, but plugins\.api: .*group adm.*")[0]
    assert remedy in said
    assert not (directory / "socket").exists()


def test_without_any_input(make_flowd, single, directory):
    """The only plugin needs privileges: nothing is left that could do anything."""
    config = base_config(directory)
    config["plugins"] = {"iperf3": {}}
    program = shutil.copy2(FLOWD, directory / "program")
    fails(make_flowd(single, config, prefix=NOBODY, program=program), "no plugin could be started",
          "plugins.iperf3", "CAP_BPF")


def test_no_plugin_is_not_ready(make_flowd, single, directory):
    config = base_config(directory)
    config["plugins"] = {}
    config["backends"] = {"prometheus": {}}
    daemon = make_flowd(single, config).start(ready=False)
    daemon.wait_log("ready, but there is no plugin that tells of flows")


def test_fifo_mode_and_group(make_flowd, single, directory):
    config = base_config(directory)
    config["plugins"]["namedPipe"].update({"mode": "0622", "group": "nogroup"})
    daemon = make_flowd(single, config).start()
    about = os.stat(daemon.fifo_path)
    assert stat.S_IMODE(about.st_mode) == 0o622
    assert about.st_gid == os.stat(daemon.fifo_path).st_gid != 0
    daemon.stop()
    config["plugins"]["namedPipe"]["group"] = "no-such-group"
    fails(make_flowd(single, config, name="second"), "no-such-group")


def test_state_directory_that_can_not_be(make_flowd, single, directory):
    config = base_config(directory)
    (directory / "state").write_text("precious")
    fails(make_flowd(single, config), str(directory / "state"))
    assert (directory / "state").read_text() == "precious"


def test_token_file_that_is_not_there(make_flowd, single, directory):
    """Without its tokens the API must not be open to everybody."""
    config = base_config(directory)
    config["plugins"]["api"]["tokenFile"] = str(directory / "tokens")
    fails(make_flowd(single, config), str(directory / "tokens"))
    (directory / "tokens").write_text("\n\n")
    daemon = make_flowd(single, config, name="second").start(ready=False)

    def refused_or_closed():
        if not daemon.running():
            return True
        try:
            return Api(single).get("/v1/status").status == 401
        except OSError:
            return False

    until(refused_or_closed, "an empty token file opens nothing")
    if daemon.running():
        daemon.stop()
    else:
        assert daemon.wait_exit() in (1, 2)


def test_registry_that_can_not_be_read(make_flowd, single, directory):
    """A missing or broken registry is said; numbers work as before."""
    config = base_config(directory)
    (directory / "registry.json").write_text('{"experiments": [')
    config["registry"] = {"path": str(directory / "registry.json")}
    daemon = make_flowd(single, config).start()
    daemon.wait_log(r"error.*registry\.json")
    Api(single).post(event("::1", 1, "::1", 2)).expect(201)
    Api(single).post({**event("::1", 3, "::1", 4), "experiment": "atlas"}).problem(422, "experiment")


def test_registry_with_two_of_one_name(make_flowd, single, directory):
    """The name stands for neither, which the log says; every other name stays."""
    registry = {"experiments": [{"expName": name, "expId": number, "activities": []}
                                for name, number in (("one", 1), ("two", 2), ("two", 3))]}
    (directory / "registry.json").write_text(json.dumps(registry))
    config = base_config(directory)
    config["registry"] = {"path": str(directory / "registry.json")}
    daemon = make_flowd(single, config).start()
    daemon.wait_log(r'warning registry: the name "two" is that of experiment 2 and of 3')
    api = Api(single)
    api.post({**event("::1", 1, "::1", 2), "experiment": "one"}).expect(201)
    api.post({**event("::1", 3, "::1", 4), "experiment": "two"}).problem(422, "experiment")
    api.post({**event("::1", 5, "::1", 6), "experiment": 3}).expect(201)


@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_registry_copy(make_flowd, single, directory, how):
    """The last good registry is kept beside the flows, for a start and not for a reload only."""
    config = base_config(directory)
    path = directory / "registry.json"
    shutil.copy(DATA / "registry.json", path)
    config["registry"] = {"path": str(path)}
    daemon = make_flowd(single, config).start()
    if how == "damaged":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.unlink()
    assert "the old names stay" in daemon.reload(expect="reloaded")
    Api(single).post({**event("::1", 1, "::1", 2), "experiment": "atlas"}).expect(201)
    daemon.stop()
    mark = daemon.log_size()
    daemon.start()
    assert "from the last good copy" in daemon.log(mark)
    Api(single).post({**event("::1", 3, "::1", 4), "experiment": "atlas"}).expect(201)


def test_registry_copy_without_room(make_flowd, single, directory):
    """Why there is no copy is said, where a part of it could be written too; the names count."""
    config = base_config(directory)
    text = (DATA / "registry.json").read_text()
    (directory / "registry.json").write_text(text + " " * (100_000 - len(text)))
    config["registry"] = {"path": str(directory / "registry.json")}
    daemon = make_flowd(single, config, prefix=["prlimit", "--fsize=50000"]).start()
    copy = directory / "state" / "registry.json"
    daemon.wait_log(rf"warning registry: the registry can't be copied to {copy}: File too large")
    assert daemon.wait_log("experiments have names") and not copy.exists()


@pytest.mark.parametrize("drop,capability", [
    (["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all"], "CAP_BPF"),
    (["--bounding-set=-bpf,-sys_admin"], "CAP_BPF"),
    (["--bounding-set=-net_admin,-sys_admin"], "CAP_NET_ADMIN"),
])
def test_without_privileges(pair, make_flowd, directory, pin_path, drop, capability):
    """Everything but the marker works, and the log names the capability that is missing."""
    config = base_config(directory, pin_path)
    config["backends"]["firefly"] = {"sendToDestination": False,
                                     "collectors": [f"{Pair.FAR4}:10515"]}
    config["backends"]["log"] = {"path": str(directory / "flowd" / "events")}
    # The source tree may be out of reach for other users.
    program = shutil.copy2(FLOWD, directory / "program")
    daemon = make_flowd(pair.near, config, prefix=["setpriv", *drop], program=program).start()
    assert capability in daemon.log(), daemon.log()
    api = Api(pair.near)
    with Collector(pair.far, Pair.FAR4, 10515) as collector:
        answer = api.post(event(Pair.NEAR, 1, Pair.FAR, 2)).expect(201).json
        assert answer["backends"].get("marker") != "marked"
        assert answer["backends"]["firefly"] == "sent"
        daemon.write_fifo(line("start", Pair.NEAR, 3, Pair.FAR, 4))
        until(lambda: api.live() == 2, "a flow through the fifo")
        collector.wait(2, "start")
        api.delete(f"/v1/flows/{answer['id']}").expect(200, 204)
        collector.wait(1, "end")
    assert len((directory / "flowd" / "events").read_text().splitlines()) == 3
    daemon.kill()
    daemon.start()
    assert Api(pair.near).live() == 1


def test_capabilities_are_given_up(pair, marking):
    """Set up, it keeps what marking needs and can gain nothing."""
    daemon = marking()
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
        fields = dict(one.rstrip("\n").split(":\t", 1) for one in file if ":\t" in one)
    net_admin, perfmon, bpf = 1 << 12, 1 << 38, 1 << 39
    for name in ("CapEff", "CapPrm"):
        assert int(fields[name], 16) & ~(net_admin | perfmon | bpf) == 0, fields
    assert int(fields["CapEff"], 16) & net_admin
    assert int(fields["CapInh"], 16) == 0 == int(fields["CapAmb"], 16)
    assert fields["NoNewPrivs"] == "1"


def test_no_file_descriptors_are_passed_on_or_lost(plain, single):
    """A thousand requests, events and connections leave as many descriptors as there were."""
    daemon = plain()
    Api(single).get("/healthz")

    def descriptors():
        return len(os.listdir(f"/proc/{daemon.pid}/fd"))

    daemon.api.get("/healthz")
    before = descriptors()
    for number in range(300):
        api = Api(single)
        api.post(event("2001:db8::1", 1 + number, "2001:db8::2", 2)).expect(201)
        api.close()
        daemon.write_fifo("nonsense\n")
        if number % 20 == 0:
            daemon.send_signal(signal.SIGHUP)
    until(lambda: descriptors() <= before, lambda: f"{descriptors()} descriptors, {before} before")
