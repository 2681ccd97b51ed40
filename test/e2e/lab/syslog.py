# SPDX-License-Identifier: Apache-2.0
"""
What a collector of fireflies makes of a datagram: the syslog header by the grammar of RFC 5424
(section 6), then the JSON object, the flow and which way its data went.
"""

import json
import re

_HEADER = re.compile(
    rb"<(?P<priority>0|[1-9]\d?|1[0-8]\d|19[01])>(?P<version>[1-9]\d{0,2})"
    rb" (?P<timestamp>-|\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
    rb"(?:\.\d{1,6})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d))"
    rb" (?P<hostname>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<procid>[!-~]{1,128}) (?P<msgid>[!-~]{1,32})"
    rb" (?P<data>-|\[.*\]) (?P<message>\{.*\}\s*)\Z", re.DOTALL)


class Message:
    """One datagram; making one fails where a collector would drop it."""

    def __init__(self, datagram):
        header = _HEADER.match(datagram)
        assert header, f"not RFC 5424: {datagram!r}"
        assert header["msgid"] == b"firefly-json", datagram
        self.fields = {name: text.decode() for name, text in header.groupdict().items()}
        self.body = header["message"]
        self.document = json.loads(self.body)
        self.state = self.document["flow-lifecycle"]["state"]
        flow = self.document["flow-id"]
        self.key = tuple(flow[name] for name in ("protocol", "src-ip", "src-port", "dst-ip", "dst-port"))

    @property
    def data_flow(self):
        """
        The addresses from and to which most bytes went. XRootD names the server as the source
        whichever way that was, so it is usage that tells.
        """
        usage = self.document.get("usage", {"sent": 0, "received": 0})
        ends = self.key[1], self.key[3]
        return ends if usage["sent"] >= usage["received"] else ends[::-1]
