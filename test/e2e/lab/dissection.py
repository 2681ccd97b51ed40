# SPDX-License-Identifier: Apache-2.0
"""What tshark makes of captured frames: its own reading, beside the tests' own."""

import json
import struct

from lab.netns import run

_PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0x40000, 1)
# The sums are checked, and reordering or lost frames are looked for.
_PREFERENCES = ("tcp.check_checksum:TRUE", "udp.check_checksum:TRUE",
                "tcp.analyze_sequence_numbers:TRUE")
CHECKSUM_GOOD = "1"


def write_pcap(path, frames):
    with open(path, "wb") as file:
        file.write(_PCAP_HEADER)
        for number, frame in enumerate(frames):
            file.write(struct.pack("<IIII", number // 1000000, number % 1000000, len(frame), len(frame)))
            file.write(frame)


def tshark(directory, frames, fields):
    """
    For each frame a dictionary of the fields that it has: lists of texts, since a field may stand
    in a packet more than once.
    """
    path = directory / "frames.pcap"
    write_pcap(path, frames)
    options = [word for one in _PREFERENCES for word in ("-o", one)]
    wanted = [word for one in fields for word in ("-e", one)]
    shown = run(["tshark", "-n", "-r", str(path), *options, "-T", "json", *wanted])
    packets = [one["_source"]["layers"] for one in json.loads(shown.stdout)]
    assert len(packets) == len(frames), shown.stderr
    return packets
