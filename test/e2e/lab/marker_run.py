# SPDX-License-Identifier: Apache-2.0
"""A daemon that marks with a given strategy, what it counts, and links of several kinds for it."""

from lab.api_client import Api, event
from lab.daemon_config import base_config

# How the near end hands on what is longer than a packet: as it is (the far end gets it whole), cut
# behind the marker for the wire, or not at all (each packet is one of the sender's own).
OFFLOADS = ("whole", "cut", "single")


def set_offload(place, offload):
    """Also takes early retransmissions away: what is sent again is what was lost."""
    place.near.sysctl("net.ipv4.tcp_early_retrans", 0)
    if offload != "whole":
        place.near.run("ethtool", "-K", "veth0", "tso", "off", "tx", "off", "tx-udp-segmentation", "off")
    if offload == "single":
        place.near.run("ethtool", "-K", "veth0", "gso", "off")
        place.near.ip("link", "set", "veth0", "gso_max_segs", 1)


class Marker:
    """A running daemon at the near end of two joined namespaces, and its API client."""

    def __init__(self, make_flowd, place, directory, pin_path, strategy="label", encoding="scitags",
                 plugins=None, backends=None, prefix=(), name="flowd", **options):
        config = base_config(directory, pin_path, markingStrategy=strategy, optionEncoding=encoding, **options)
        config["plugins"].update(plugins or {})
        config["backends"].update(backends or {})
        self.daemon = make_flowd(place.near, config, name=name, prefix=prefix).start()
        self.api = Api(place.near)

    def announce(self, key, experiment=2, activity=17):
        protocol, *addresses = key
        flow = self.api.post(event(*addresses, experiment, activity, protocol)).expect(201).json
        assert flow["backends"]["marker"] == "marked", flow
        return flow

    def counted(self):
        """How many packets of the target interface came to which end; only what is not 0."""
        packets = self.api.status()["interfaces"][0]["packets"]
        return {name: count for name, count in packets.items() if count}

    def counted_of_flows(self):
        """The same without what is no flow's and comes when it likes: neighbour discovery."""
        return {name: count for name, count in self.counted().items()
                if name not in ("other-protocol", "not-ipv6")}
