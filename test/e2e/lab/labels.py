# SPDX-License-Identifier: Apache-2.0
"""Flow labels, computed here on their own: the daemon's arithmetic is what is being tested."""

# Where experiment (9 bits) and activity (6 bits) stand in the 20 bits; the rest is entropy.
TAG_MASK = 0b00_111111111_0_111111_00


def tag_bits(experiment, activity):
    """The label with all entropy bits zero."""
    reversed_experiment = int(f"{experiment:09b}"[::-1], 2)
    return reversed_experiment << 9 | activity << 2


def tag_of(label):
    """(experiment, activity) of a label."""
    return int(f"{label >> 9 & 0x1ff:09b}"[::-1], 2), label >> 2 & 0x3f
