# SPDX-License-Identifier: Apache-2.0
"""XRootD's own fireflies: what it transfers is marked, and its counts reach the collector as it sent them."""

import json
import pwd
import shutil
import socket

import pytest

from lab.api_client import Api
from lab.capture import Capture
from lab.daemon_config import base_config
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Pair
from lab.programs import program
from lab.waiting import DEADLINE_S, until

PORT = 21094
SIZE = 30_000_000
# nodnr: no names are asked for; domain any: clients of private addresses are told of, too.
CONFIG = f"""
xrd.port {PORT}
xrd.network nodnr
all.export /d
oss.localroot {{place}}/data
all.adminpath {{place}}/admin
all.pidpath {{place}}/admin
xrootd.pmark domain any debug
xrootd.pmark ffdest 127.0.0.1:10514
"""


@pytest.fixture
def xrootd(pair, directory):
    """A server on the near side with one file; its clients are on the far side."""
    server = program("xrootd")
    program("xrdcp")
    nobody = pwd.getpwnam("nobody")
    place = directory / "xrootd"
    for one in (place, place / "data", place / "data/d", place / "admin"):
        one.mkdir()
        shutil.chown(one, nobody.pw_uid, nobody.pw_gid)
    (place / "data/d/file").write_bytes(bytes(SIZE))
    (place / "config").write_text(CONFIG.format(place=place))
    with open(place / "said", "wb") as said:
        # It does not run as root.
        process = pair.near.popen(["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups",
                                   server, "-c", place / "config"], stdout=said, stderr=said, cwd=place)
    try:
        def listens():
            assert process.poll() is None, (place / "said").read_text()
            return f":{PORT} " in pair.near.run("ss", "-Hlnt").stdout

        until(listens, lambda: f"xrootd: {(place / 'said').read_text()}")
        yield place
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def copy(pair, *arguments):
    pair.far.run("xrdcp", "--nopbar", "--force", *arguments, timeout=DEADLINE_S)


def receive(collector):
    """The next firefly's header and object."""
    datagram = collector.recv(65536)
    at = datagram.index(b"{")
    return datagram[:at], json.loads(datagram[at:])


def listener(api):
    return next(one for one in api.status()["modules"] if one["name"] == "firefly" and one["kind"] == "plugin")


@pytest.mark.parametrize("upload", [False, True], ids=["read", "write"])
def test_transfers_are_marked(pair, make_flowd, directory, pin_path, xrootd, upload):
    config = base_config(directory, pin_path)
    config["plugins"]["firefly"] = {}
    config["backends"]["firefly"] = {"sendToDestination": False, "collectors": [f"{Pair.FAR4}:10515"]}
    make_flowd(pair.near, config).start()
    api = Api(pair.near)
    local = xrootd / "copy"
    if upload:
        local.write_bytes(bytes(SIZE))
    server = f"root://[{Pair.NEAR}]:{PORT}//d/file"
    with pair.far.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector, Capture(pair.far, "veth1") as arriving:
        collector.bind((Pair.FAR4, 10515))
        collector.settimeout(DEADLINE_S)
        if upload:
            copy(pair, local, server + "-2?scitag.flow=145")
        else:
            copy(pair, server + "?scitag.flow=145", local)
        header, start = receive(collector)
        assert start["flow-lifecycle"]["state"] == "start" and b" xrootd - firefly-json - " in header
        # The server is named as source, whichever way the bytes go.
        flow = start["flow-id"]
        assert (flow["src-ip"], flow["src-port"]) == (Pair.NEAR, PORT) and flow["dst-ip"] in (Pair.FAR, Pair.FAR_OTHER)
        _, end = receive(collector)
        assert end["flow-lifecycle"]["state"] == "end" and end["flow-id"] == flow
        assert end["usage"]["received" if upload else "sent"] >= SIZE
        until(lambda: api.live() == 0, "the end")
        packets = [one for one in arriving.packets() if (one.sport, one.dport) == (PORT, flow["dst-port"])]
    labels = [one.label & TAG_MASK == tag_bits(2, 17) for one in packets]
    # From the moment at which the firefly was read to the end of the transfer; what went before is a part of it.
    first, last = labels.index(True), len(labels) - labels[::-1].index(True)
    assert all(labels[first:last]), "an unmarked packet between marked ones"
    assert last - first > (10 if upload else len(labels) // 2), (first, last, len(labels))
    assert api.status()["events"]["firefly"]["malformed"] == 0
    assert listener(api)["received"] == 2


def test_ipv4(pair, make_flowd, directory, xrootd):
    """A client of IPv4 of a server of both families."""
    config = base_config(directory)
    config["plugins"]["firefly"] = {}
    config["backends"]["log"] = {"path": str(directory / "flows")}
    make_flowd(pair.near, config).start()
    api = Api(pair.near)
    copy(pair, f"root://{Pair.NEAR4}:{PORT}//d/file?scitag.flow=66", xrootd / "copy")
    until(lambda: listener(api)["received"] == 2, "the fireflies")
    until(lambda: (directory / "flows").read_text().count("\n") == 2, "the flow's log")
    counted = api.status()["events"]["firefly"]
    assert counted["malformed"] == 0 and counted["start"]["started"] == 1, counted
    assert f"{Pair.NEAR4}:{PORT}" in (directory / "flows").read_text()
