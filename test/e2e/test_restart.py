# SPDX-License-Identifier: Apache-2.0
"""What survives: kill -9 under load, clean restarts, onExit, and state files that can't be used."""

import os
import socket
import threading

import pytest

from lab.api_client import Api, event, line
from lab.capture import Capture
from lab.collector import Collector
from lab.daemon_config import base_config
from lab.flow_map import FlowMap
from lab.kernel_bpf import pinned
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Pair
from lab.traffic import Stream, Tcp, number_of, udp_socket
from lab.waiting import until


def by_key(flows):
    return {(one["protocol"], one["src"], one["srcPort"], one["dst"], one["dstPort"]): one
            for one in flows}


def expected_entries(flows):
    """What the map must have for these flows, of which only the source is local."""
    return {(one["dst"], one["srcPort"], one["dstPort"], one["protocol"]):
            tag_bits(one["experiment"], one["activity"]) for one in flows}


def check_map(pin_path, flows):
    """The kernel's map holds the live flows and nothing else."""
    entries = FlowMap(pin_path)
    expected = expected_entries(flows)
    assert {key: entries[key] & TAG_MASK for key in expected} == expected
    assert len(entries) == len(expected)


KEPT = ("startTime", "experiment", "activity", "application", "plugin", "protocol", "src", "srcPort",
        "dst", "dstPort")


class Load(threading.Thread):
    """
    Starts UDP flows through the fifo, and ends each of them some flows later, for as long as
    somebody reads it.
    """

    FLOWS, BEHIND = 30000, 2000

    def __init__(self, daemon, number):
        super().__init__(daemon=True)
        self._path, self._number = daemon.fifo_path, number
        self.written = 0

    def run(self):
        pipe = os.open(self._path, os.O_WRONLY)
        try:
            while self.written < 2_000_000:
                block = b""
                while len(block) < 3900:
                    block += self._line("start", self.written)
                    if self.written >= self.BEHIND:
                        block += self._line("end", self.written - self.BEHIND)
                    self.written += 1
                os.write(pipe, block)
        except BrokenPipeError:
            pass
        finally:
            os.close(pipe)

    def _line(self, state, number):
        flow = number % self.FLOWS
        return line(state, Pair.NEAR_OTHER, 1 + flow, Pair.FAR_OTHER, 1 + self._number, flow % 512,
                    flow % 64).encode()


def ended_by_load(api):
    return api.status()["events"]["namedPipe"]["end"].get("ended", 0)


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_kill_9_under_load(pair, marking, pin_path, attach):
    """
    Flows confirmed before are there with all that was known of them, their packets never lost their
    label, the map holds what is live and nothing else, and flows whose sockets went are gone.
    """
    daemon = marking(attach, firefly={"sendToDestination": False,
                                      "collectors": [f"{Pair.FAR4}:10515"]})
    connections = [Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) for _ in range(8)]
    with Collector(pair.far, Pair.FAR4, 10515, only=b'"tcp"') as collector, \
            udp_socket(pair.far, Pair.FAR) as receiver, \
            udp_socket(pair.near, Pair.NEAR) as sender:
        port, sport = receiver.getsockname()[1], sender.getsockname()[1]
        stream = daemon.api.post(event(Pair.NEAR, sport, Pair.FAR, port, 300, 33,
                                       application="stream")).expect(201).json
        for connection in connections:
            daemon.api.post(event(Pair.NEAR, connection.sport, Pair.FAR, connection.port, 3, 7,
                                  "tcp")).expect(201)
            connection.connect().exchange()
        before = by_key(daemon.api.flows())
        assert len(before) == 9
        gone = [("tcp", Pair.NEAR, one.sport, Pair.FAR, one.port) for one in connections[:4]]
        with Capture(pair.far, pair.far_interface) as capture:
            with Stream(sender, Pair.FAR, port) as packets:
                for round_number in range(3):
                    load = Load(daemon, round_number)
                    load.start()
                    until(lambda: ended_by_load(daemon.api) > 5000, "load")
                    daemon.kill()
                    load.join()
                    # Whether the kill left an entry of a flow that had ended is chance; this is not.
                    FlowMap(pin_path, write=True).add(Pair.FAR_OTHER, 1000 + round_number, 99, "udp",
                                                      tag_bits(2, 17))
                    if round_number == 0:
                        for connection in connections[:4]:
                            close_at_once(connection)
                    sent = packets.sent
                    until(lambda: packets.sent > sent + 50, "packets without the daemon")
                    daemon.start()
                    daemon.api = Api(pair.near)
                    check_map(pin_path, daemon.api.flows())
                    sent = packets.sent
                    until(lambda: packets.sent > sent + 50, "packets after the restart")
            last = packets.sent - 1
            capture.wait(lambda one: one.sport == sport and number_of(one) == last, "last packet")
            captured = [one for one in capture.packets() if one.sport == sport]

        assert [number_of(one) for one in captured] == list(range(last + 1))
        labels = {one.label for one in captured}
        assert len(labels) == 1 and labels.pop() & TAG_MASK == tag_bits(300, 33)

        after = by_key(daemon.api.flows())
        for key, flow in before.items():
            assert (key in after) == (key not in gone), key
            if key in after:
                assert {name: after[key][name] for name in KEPT} == \
                    {name: flow[name] for name in KEPT}
                assert after[key]["backends"]["marker"] == "marked"
        assert after[("udp", Pair.NEAR, sport, Pair.FAR, port)]["application"] == "stream"
        ends = collector.wait(len(gone), "end")
        assert sorted(one.key for one in ends) == sorted(gone)

        daemon.api.delete(f"/v1/flows/{after[('udp', Pair.NEAR, sport, Pair.FAR, port)]['id']}")
        assert (Pair.FAR, sport, port, "udp") not in FlowMap(pin_path)
        assert stream["startTime"]
    for connection in connections:
        connection.__exit__()


def close_at_once(connection):
    """Closes with a reset, so that not even a TIME_WAIT is left."""
    connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.client.close()


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_clean_restart_keeps_flows(pair, marking, pin_path, attach):
    """onExit `detach`: no mark while it is stopped, all flows and marks when it is back."""
    daemon = marking(attach)
    flows = [daemon.api.post(event(Pair.NEAR, port, Pair.FAR, 2, port, 5)).expect(201).json
             for port in range(1, 101)]
    daemon.stop()
    daemon.start()
    api = Api(pair.near)
    after = by_key(api.flows())
    for flow in flows:
        key = ("udp", Pair.NEAR, flow["srcPort"], Pair.FAR, 2)
        assert {name: after[key][name] for name in KEPT} == {name: flow[name] for name in KEPT}
    check_map(pin_path, after.values())


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_detach_and_keep(pair, make_flowd, directory, pin_path, attach):
    """`detach` takes everything along; `keep` goes on marking without a gap until the next start."""
    config = base_config(directory, pin_path, attach=attach, onExit="keep")
    daemon = make_flowd(pair.near, config).start()
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            Capture(pair.far, pair.far_interface) as capture:
        port, sport = receiver.getsockname()[1], sender.getsockname()[1]
        Api(pair.near).post(event(Pair.NEAR, sport, Pair.FAR, port)).expect(201)
        with Stream(sender, Pair.FAR, port) as packets:
            for stop in (True, False):
                daemon.stop()
                sent = packets.sent
                until(lambda: packets.sent > sent + 50, "packets without the daemon")
                if not stop:
                    daemon.config["backends"]["marker"]["onExit"] = "detach"
                daemon.start()
        last = packets.sent - 1
        behind = capture.wait(lambda one: one.sport == sport and number_of(one) == last, "the last")
        flow = [one for one in capture.packets() if one.sport == sport]
        assert len({one.label for one in flow}) == 1 and flow[0].label != 0
        daemon.stop()
        assert pinned(pin_path) == []
        sender.sendto(bytes(8), (Pair.FAR, port))
        behind = capture.wait(lambda one: one.sport == sport, "a packet after the stop", behind)
        assert capture.packets()[behind - 1].label == 0
    assert "clsact" not in pair.near.run("tc", "qdisc", "show", "dev", "veth0").stdout


def test_load_without_marker(plain, single):
    """The state file alone: every flow that an answer confirmed is there after each of ten kills."""
    daemon = plain()
    confirmed = {}
    for round_number in range(10):
        api = Api(single)
        flows = [event("2001:db8::1", port, "2001:db8::2", 1 + round_number, port % 512, port % 64,
                       application=f"round {round_number}") for port in range(1, 201)]
        for result in api.post(flows).expect(200).json:
            assert result["status"] == 201
        confirmed = by_key(api.flows())
        assert len(confirmed) == 200 * (round_number + 1)
        daemon.kill()
        daemon.start()
        after = by_key(Api(single).flows())
        assert {key: one["startTime"] for key, one in after.items()} == \
            {key: one["startTime"] for key, one in confirmed.items()}
        assert {key: one["application"] for key, one in after.items()} == \
            {key: one["application"] for key, one in confirmed.items()}


def state_file(directory):
    files = [one for one in (directory / "state").iterdir() if one.is_file()]
    return max(files, key=lambda one: one.stat().st_size)


def _truncated(data):
    return data[:len(data) // 2 + 7]


def _header_only(data):
    return data[:100]


def _other_version(data):
    return data[:8] + bytes(byte ^ 0x55 for byte in data[8:16]) + data[16:]


def _garbage(data):
    return bytes((7 * index + index // 251) % 256 for index in range(len(data)))


def _records_garbage(data):
    return data[:4096] + _garbage(data)[4096:]


def _empty(_):
    return b""


def _zeros(data):
    return bytes(len(data))


@pytest.mark.parametrize("damage", [
    _truncated, _header_only, _other_version, _garbage, _records_garbage, _empty, _zeros])
def test_unusable_state_file(plain, single, directory, damage):
    """A clear line, and flowd starts; what can be trusted is kept, nothing is made up."""
    daemon = plain()
    daemon.api.post([event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 301)])
    before = by_key(daemon.api.flows())
    daemon.kill()
    path = state_file(directory)
    data = path.read_bytes()
    assert damage(data) != data
    path.write_bytes(damage(data))
    mark = daemon.log_size()
    daemon.start()
    after = by_key(Api(single).flows())
    for key, flow in after.items():
        assert {name: before[key][name] for name in KEPT} == {name: flow[name] for name in KEPT}
    if len(after) < len(before):
        assert "state" in daemon.log(mark), daemon.log(mark)
        if damage not in (_empty, _zeros):
            assert "warning" in daemon.log(mark) or "error" in daemon.log(mark), daemon.log(mark)
    Api(single).post(event("2001:db8::5", 1, "2001:db8::6", 2)).expect(201)
    daemon.kill()
    daemon.start()
    assert ("udp", "2001:db8::5", 1, "2001:db8::6", 2) in by_key(Api(single).flows())


def test_single_damaged_bytes(plain, single, directory):
    """One wrong byte anywhere never keeps flowd from starting."""
    daemon = plain()
    daemon.api.post([event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 21)])
    daemon.stop()
    path = state_file(directory)
    data = path.read_bytes()
    for position in [*range(0, 64, 9), *range(4096, 4096 + 2 * 192, 23)]:
        path.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1:])
        daemon.start()
        assert Api(single).live() <= 20
        daemon.stop()


def test_end_on_close_off(make_flowd, single, directory):
    """With endOnClose false, flows of sockets that are gone stay."""
    config = base_config(directory)
    config["flows"] = {"endOnClose": False}
    daemon = make_flowd(single, config).start()
    Api(single).post(event("::1", 1, "::1", 2, protocol="tcp")).expect(201)
    daemon.kill()
    daemon.start()
    assert Api(single).live() == 1
    daemon.config["flows"]["endOnClose"] = True
    daemon.stop()
    daemon.start()
    until(lambda: Api(single).live() == 0, "the end of a flow without a socket")
