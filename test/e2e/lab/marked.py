# SPDX-License-Identifier: Apache-2.0
"""Whether a flow that is announced gets its mark, as its receiver sees it."""

from lab.api_client import line
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Pair
from lab.traffic import receive_label, udp_socket
from lab.waiting import until


def wait_marked(pair, announce, experiment=4, activity=4):
    """announce(line) tells flowd of a flow from the near side; returns when a packet of it bears its mark."""
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender:
        target = receiver.getsockname()[:2]
        announce(line("start", Pair.NEAR, sender.getsockname()[1], *target, experiment, activity))

        def marked():
            sender.sendto(b"", target)
            return receive_label(receiver)[1] & TAG_MASK == tag_bits(experiment, activity)

        until(marked, "a marked packet")
