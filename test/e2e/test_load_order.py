# SPDX-License-Identifier: Apache-2.0
"""
The order of the marker's loads where processors keep none (arm64): what ebpf/marker_table.bpf.h relies
on must be left when compiler and verifier are done. unit/marker_interleavings takes it for given.
"""

import pytest

from lab.daemon_config import base_config
from lab.dependencies import Program
from lab.kernel_bpf import clsact_filters
from lab.netns import run

NEXT_OFFSET = 60  # of struct flowd_marker_bucket's `next`


@pytest.mark.parametrize("strategy", ["label", "hopByHop"])
def test_geometry_is_read_after_the_last_line(pair, make_flowd, directory, pin_path, strategy):
    """
    A bucket's last line says that none follows: that the flow is not there counts only if the geometry,
    read after that, is the same.
    """
    make_flowd(pair.near, base_config(directory, pin_path, markingStrategy=strategy, attach="tc")).start()
    filters = clsact_filters(pair.near, "veth0")
    assert filters
    for number, _ in filters:
        program = Program(run(["/usr/sbin/bpftool", "prog", "dump", "xlated", "id", str(number)]).stdout)
        lines, geometry = program.loads(32, NEXT_OFFSET), program.loads_at_sum()
        assert len(lines) > 12 and len(geometry) > 2, (lines, geometry)
        wrong = {first: program.independent(first, set(geometry)) for first in lines}
        assert not any(wrong.values()), {first: text for first, text in wrong.items() if text}
