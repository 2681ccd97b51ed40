# SPDX-License-Identifier: Apache-2.0
"""
Packets that leave twice: through a tunnel and by the interface below it, through a bridge and by its
port; and a device that becomes another kind of device while flowd is on it.
"""

import fcntl
import socket
import threading

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.devices import Tun
from lab.frames import Frames
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Pair
from lab.waiting import DEADLINE_S, until

_TUNSETLINK = 0x400454CD
_ETHER, _NONE = 1, 0xFFFE
_FRAGMENT = 44
GENERAL = {"experimentId": 1, "activityId": 2}


@pytest.fixture
def start(make_flowd, directory, pin_path):
    """Starts flowd with a mark for everything."""
    def run(space, interfaces, strategy):
        config = base_config(directory, pin_path, interfaces=interfaces, markingStrategy=strategy)
        config["plugins"]["perfsonar"] = GENERAL
        daemon = make_flowd(space, config).start()
        daemon.api = Api(space)
        return daemon

    return run


def packets(api, interface):
    return next(one["packets"] for one in api.get("/v1/status").json["interfaces"]
                if one["name"] == interface)


@pytest.mark.parametrize("strategy", ["label", "hopByHop", "destination", "hopByHopDestination"])
def test_tunnel(pair, start, strategy):
    """
    What TCP sends through a tunnel is cut into segments behind the marker, and the segments have more
    headers than the outer ones: none may become too long.
    """
    for space, interface, here, there, inner in (
            (pair.near, "veth0", Pair.NEAR, Pair.FAR, "198.51.100.1"),
            (pair.far, "veth1", Pair.FAR, Pair.NEAR, "198.51.100.2")):
        space.run("ethtool", "-K", interface, "tso", "off", "gro", "off",
                  "tx-udp_tnl-segmentation", "off", "tx-udp_tnl-csum-segmentation", "off")
        space.ip("link", "add", "tunnel0", "type", "vxlan", "id", "7", "local", here, "remote", there,
                 "dstport", "4789", "dev", interface)
        space.ip("link", "set", "tunnel0", "up")
        space.add_address("tunnel0", inner + "/24")
    api = start(pair.near, ("veth0",), strategy).api
    data = bytes(range(256)) * 4096
    listener = pair.far.socket(socket.AF_INET, socket.SOCK_STREAM)
    client = pair.near.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener, client:
        listener.bind(("198.51.100.2", 5000))
        listener.listen(1)
        client.settimeout(DEADLINE_S)
        client.connect(("198.51.100.2", 5000))
        server, _ = listener.accept()
        with server:
            server.settimeout(DEADLINE_S)
            sender = threading.Thread(target=client.sendall, args=(data,), daemon=True)
            sender.start()
            got = b""
            while len(got) < len(data):
                part = server.recv(1 << 16)
                assert part, "the connection was closed"
                got += part
            sender.join(DEADLINE_S)
    assert got == data
    counted = packets(api, "veth0")
    assert counted["marked"] > 0
    assert strategy == "label" or counted["mtu"] > 0, "no packet was cut behind the marker"


def test_fragments_by_two_interfaces(pair, start):
    """Fragments that pass a bridge and its port bear their flow's mark, not the general one."""
    near = pair.near
    near.ip("address", "flush", "dev", "veth0")
    near.ip("link", "add", "bridge0", "type", "bridge")
    near.ip("link", "set", "veth0", "master", "bridge0")
    near.ip("link", "set", "bridge0", "up")
    near.add_address("bridge0", Pair.NEAR + "/64")
    api = start(near, ("bridge0", "veth0"), "label").api
    api.post(event(Pair.NEAR, 4000, Pair.FAR, 5000, 2, 17, "udp")).expect(201)
    with near.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender, \
            pair.far.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver, \
            Frames(pair.far, "veth1") as frames:
        sender.bind((Pair.NEAR, 4000))
        receiver.bind((Pair.FAR, 5000))
        receiver.settimeout(DEADLINE_S)
        for _ in range(3):
            sender.sendto(bytes(4000), (Pair.FAR, 5000))
            assert len(receiver.recv(8192)) == 4000

        def fragments():
            found = [one for one in frames.frames() if one[12:14] == b"\x86\xdd" and one[20] == _FRAGMENT]
            return found if len(found) >= 9 else None

        labels = {int.from_bytes(one[15:18], "big") & 0xFFFFF
                  for one in until(fragments, "nine fragments")}
    assert {one & TAG_MASK for one in labels} == {tag_bits(2, 17)} and len(labels) == 1
    assert packets(api, "veth0")["fragment"] == 0


@pytest.mark.parametrize("strategy", ["label", "hopByHop"])
def test_a_device_changes_its_kind(single, start, strategy):
    """A device that loses its link header gets the program for such devices before it is used."""
    device = Tun(single, tap=False, link_type=_ETHER)
    source, target = "fd00:f17::1:2:1100:1", "fd00:f17::2"
    daemon = start(single, ("tun0",), strategy)
    single.ip("link", "set", "tun0", "down")
    fcntl.ioctl(device._file, _TUNSETLINK, _NONE)  # pylint: disable=protected-access
    device.bring_up(single)
    single.ip("address", "replace", source + "/64", "dev", "tun0", "nodad")
    until(lambda: daemon.log().count("interface tun0: attached") == 2, "the other program")
    before = packets(daemon.api, "tun0")["marked"]
    with single.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 4000))
        sender.sendto(b"needle-needle", (target, 5000))
    frame = device.frame(b"needle")
    assert socket.inet_ntop(socket.AF_INET6, frame[22:38]) == source
    assert socket.inet_ntop(socket.AF_INET6, frame[38:54]) == target
    assert frame.endswith(b"needle-needle")
    assert packets(daemon.api, "tun0")["marked"] > before
