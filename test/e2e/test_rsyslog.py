# SPDX-License-Identifier: Apache-2.0
"""rsyslog as a collector: what it takes our datagrams for, field by field (RFC 5424)."""

import json
import shutil
import subprocess

import pytest

from lab.api_client import Api, event
from lab.collector import VALIDATOR, now, parse_time
from lab.daemon_config import base_config
from lab.netns import Pair
from lab.programs import program
from lab.waiting import until

PORT = 10515
CONFIG = """
global(workDirectory="{directory}")
module(load="imudp")
input(type="imudp" address="{address}" port="{port}" ruleset="fireflies")
template(name="fields" type="list" option.jsonf="on") {{
  property(outname="timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="hostname" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="procid" name="procid" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf")
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="version" name="protocol-version" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}}
ruleset(name="fireflies") {{
  action(type="omfile" file="{directory}/stored" template="fields")
}}
"""


@pytest.fixture
def rsyslog(pair, directory):
    """rsyslogd on the far side; what it stored so far."""
    place = directory / "rsyslog"
    place.mkdir()
    # A copy: Ubuntu's AppArmor confines the one at its own path, also in a container.
    server = shutil.copy(program("rsyslogd"), place)
    config = place / "rsyslog.conf"
    config.write_text(CONFIG.format(directory=place, address=Pair.FAR4, port=PORT))
    with open(place / "said", "wb") as said:
        process = pair.far.popen([server, "-n", "-f", config, "-i", place / "pid"],
                                 stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def stored():
        assert process.poll() is None, (place / "said").read_text()
        path = place / "stored"
        return [json.loads(one) for one in path.read_text().splitlines()] if path.exists() else []

    def listens():
        assert process.poll() is None, (place / "said").read_text()
        return f"{Pair.FAR4}:{PORT}" in pair.far.run("ss", "-Hlnu").stdout

    try:
        until(listens, "rsyslog listens")
        yield stored
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_rsyslog_stores_every_field(pair, make_flowd, directory, rsyslog):
    config = base_config(directory)
    config["backends"]["firefly"] = {"sendToDestination": False, "collectors": [f"{Pair.FAR4}:{PORT}"]}
    make_flowd(pair.near, config).start()
    api = Api(pair.near)
    before = now()
    shown = api.post(event(Pair.NEAR, 1094, Pair.FAR, 40000, application="a \"quoted\" ümlaut")).expect(201).json
    api.delete(f"/v1/flows/{shown['id']}").expect(200, 204)
    start, end = until(lambda: rsyslog() if len(rsyslog()) == 2 else None, lambda: f"two messages: {rsyslog()}")
    hostname = pair.near.run("uname", "-n").stdout.strip()
    for message, state in ((start, "start"), (end, "end")):
        assert {key: message[key] for key in
                ("hostname", "app", "procid", "msgid", "data", "facility", "severity", "version")} == {
            "hostname": hostname, "app": "flowd", "procid": "-", "msgid": "firefly-json", "data": "-",
            "facility": "local0", "severity": "info", "version": "1"}
        assert before <= parse_time(message["timestamp"].replace("Z", "+00:00")) <= now()
        document = json.loads(message["message"])
        VALIDATOR.validate(document)
        assert document["flow-lifecycle"]["state"] == state
        assert document["flow-id"]["src-port"] == 1094
        assert document["context"]["application"] == "a \"quoted\" ümlaut"
