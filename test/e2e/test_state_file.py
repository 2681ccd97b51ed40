# SPDX-License-Identifier: Apache-2.0
"""State files that were damaged, that others may write to, and that can't be read or grow."""

import os
import random
import struct

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.waiting import until

HEADER, RECORD = 4096, 160
KEPT = ("id", "startTime", "experiment", "activity", "application", "plugin", "protocol", "src",
        "srcPort", "dst", "dstPort")
FLOWS = 40
NO_BOOT_ID = ("unshare", "--mount", "--", "sh", "-c",
              'mount -t tmpfs none /proc/sys/kernel/random && exec "$0" "$@"')


def kept(api):
    return {flow["id"]: {name: flow[name] for name in KEPT} for flow in api.flows()}


@pytest.fixture
def stored(make_flowd, single, directory):
    """A daemon that was killed with flows in its file: the daemon, the file, and the flows."""
    daemon = make_flowd(single, base_config(directory)).start()
    api = Api(single)
    api.post([event("2001:db8::1", port, "2001:db8::2", 2, port * 11 % 512, port % 64,
                    application=f"number {port}") for port in range(1, FLOWS + 1)]).expect(200)
    flows = kept(api)
    assert len(flows) == FLOWS
    for one in list(flows)[::8]:
        api.delete(f"/v1/flows/{one}").expect(200, 204)
        del flows[one]
    daemon.kill()
    return daemon, directory / "state" / "flows.state", flows


def restart(daemon, single):
    """Starts the daemon; its flows, and what it says of damage."""
    daemon.start()
    api = Api(single)
    flows, status = kept(api), api.status()
    daemon.kill()
    return flows, status["flows"]["damaged"]


def test_flips_and_cuts(stored, single):
    """One bit of the header or of a record: at most the flow of that record is lost."""
    daemon, path, flows = stored
    good = path.read_bytes()
    dice = random.Random(2)
    for number in range(36):
        data = bytearray(good)
        if number % 3 == 0:
            place = dice.randrange(0, 72)
        else:
            place = HEADER + dice.randrange(0, FLOWS * RECORD)
        lost = max(0, (place - HEADER) // RECORD) if place >= HEADER else None
        if number % 3 == 2:
            del data[place:]
            whole = (place - HEADER) // RECORD
        else:
            data[place] ^= 1 << dice.randrange(8)
            whole = FLOWS
        path.write_bytes(data)
        after, damaged = restart(daemon, single)
        for one, flow in after.items():
            assert flow == flows[one], (number, place)
        records = {one: int(one[8:], 16) - 1 for one in flows}
        missing = {records[one] for one in flows if one not in after}
        if number % 3 == 2:
            assert missing == {record for record in records.values() if record >= whole}, place
        else:
            assert missing <= ({lost} if lost is not None else set()), (number, place)
            assert damaged == len(missing), (number, place)


def test_label_follows_the_tag(stored, single):
    """A flow label that another tag has is not believed."""
    daemon, path, flows = stored
    data = bytearray(path.read_bytes())
    label, = struct.unpack_from("=I", data, HEADER + RECORD + 64)
    struct.pack_into("=I", data, HEADER + RECORD + 64, label ^ 1 << 4)
    path.write_bytes(data)
    mark = daemon.log_size()
    after, damaged = restart(daemon, single)
    assert len(after) == len(flows) - 1 and damaged == 1
    assert "1 damaged records were dropped" in daemon.log(mark)


def test_list_is_json_after_damage(stored, single):
    """Neither a damaged source nor a damaged time comes out of the API."""
    daemon, path, flows = stored
    data = bytearray(path.read_bytes())
    data[HEADER + RECORD + 92] = 0xFF
    data[HEADER + 2 * RECORD + 92] = ord('"')
    struct.pack_into("=q", data, HEADER + 3 * RECORD + 48, 2**63 - 1)
    path.write_bytes(data)
    after, damaged = restart(daemon, single)
    assert len(after) == len(flows) - 3 and damaged == 3


def test_sparse_file(stored, single):
    """Four gigabytes of holes are neither allocated nor kept."""
    daemon, path, flows = stored
    os.truncate(path, 4 << 30)
    after, _ = restart(daemon, single)
    assert after == flows
    assert path.stat().st_size < 1 << 20 and path.stat().st_blocks * 512 < 1 << 20


def test_boot_id_unreadable(stored, single):
    """That the boot id can't be read does not say that the host has rebooted."""
    daemon, path, flows = stored
    good = path.read_bytes()
    daemon.prefix = list(NO_BOOT_ID)
    assert restart(daemon, single)[0] == flows
    # With a damaged header nothing else tells either, so the file stays for a flowd that knows.
    path.write_bytes(b"x" + good[1:])
    mark = daemon.log_size()
    assert restart(daemon, single)[0] == {}
    assert "boot_id: No such file" in daemon.log(mark), daemon.log(mark)
    assert "has rebooted," not in daemon.log(mark)
    daemon.prefix = []
    assert restart(daemon, single)[0] == flows


def test_open_to_others(stored, single):
    """A file or a directory that others may write to draws a warning."""
    daemon, path, flows = stored

    def said():
        mark = daemon.log_size()
        assert restart(daemon, single)[0] == flows
        return [one for one in daemon.log(mark).splitlines() if "decides which packets" in one]

    assert said() == []
    path.chmod(0o666)
    assert "every user may write to the file" in said()[0]
    path.chmod(0o600)
    path.parent.chmod(0o777)
    assert "every user may write to the directory" in said()[0]
    path.parent.chmod(0o755)
    os.chown(path, 12345, -1)
    assert "the file belongs to another user" in said()[0]


def test_file_size_limit(make_flowd, single, directory):
    """RLIMIT_FSIZE is an error like a full disk: 503, and flowd goes on."""
    config = base_config(directory)
    config["backends"]["log"] = {"path": str(directory / "flows.log")}
    daemon = make_flowd(single, config, prefix=["prlimit", "--fsize=100000"]).start()
    api = Api(single)
    problem = api.post(event("2001:db8::1", 1, "2001:db8::2", 2)).problem(503, "state file")
    assert "File too large" in problem["detail"]
    assert api.live() == 0
    flows = api.status()["flows"]
    assert (flows["refusedFull"], flows["refusedUnstored"]) == (0, 1)
    daemon.stop()
    # With room for the flows, but not for what is written of them.
    daemon.prefix = ["prlimit", "--fsize=400000"]
    daemon.start()
    api = Api(single)
    for round_number in range(30):
        api.post([event("2001:db8::1", port, "2001:db8::2", 2, application="x" * 50)
                  for port in range(1, 101)]).expect(200)
        api.post([{**event("2001:db8::1", port, "2001:db8::2", 2), "state": "end"}
                  for port in range(1, 101)]).expect(200)
    until(lambda: (directory / "flows.log").stat().st_size >= 399000, "a log at its limit")
    assert api.live() == 0 and daemon.running()
