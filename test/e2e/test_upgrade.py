# SPDX-License-Identifier: Apache-2.0
"""
From another build of flowd to this one and back, under traffic: no packet of a flow leaves unmarked.
FLOWD_FORMER_BIN names the other flowd, such as that of the release before; without it there is
nothing to test.
"""

import os
import pathlib

import pytest

from lab.daemon_config import base_config
from lab.flowd_process import FLOWD
from test_continuity import Guarded

FORMER = os.environ.get("FLOWD_FORMER_BIN")

if FORMER:
    @pytest.mark.parametrize("attach", ["tcx", "tc"])
    def test_former_build(pair, make_flowd, directory, pin_path, attach):
        config = base_config(directory, pin_path, attach=attach, onExit="keep")
        daemon = make_flowd(pair.near, config).start()
        with Guarded(pair, pin_path) as guarded:
            for number, leave in enumerate((daemon.stop, daemon.kill) * 3):
                leave()
                daemon.program = FLOWD if number % 2 else pathlib.Path(FORMER)
                guarded.go_on()
                daemon.start()
                guarded.go_on()
                guarded.check(f"round {number}, with {daemon.program}")
            guarded.end()
