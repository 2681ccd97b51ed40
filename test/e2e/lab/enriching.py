# SPDX-License-Identifier: Apache-2.0
"""A daemon whose flows have TCP statistics: what its collector and its API say of them."""

from lab.api_client import event
from lab.collector import Collector
from lab.netns import Pair

PERIOD_MS = 100
COLLECTOR_PORT = 10515


def collector(pair, size_max=1400):
    return Collector(pair.far, Pair.FAR4, COLLECTOR_PORT, size_max=size_max)


def sample_of(daemon, flow_id):
    return daemon.api.get(f"/v1/flows/{flow_id}").expect(200).json.get("sample")


def announce(daemon, connection, **members):
    return daemon.api.post(event(connection.source, connection.sport, connection.target, connection.port,
                                 protocol="tcp", **members)).expect(201).json["id"]
