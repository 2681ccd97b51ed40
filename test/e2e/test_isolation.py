# SPDX-License-Identifier: Apache-2.0
"""Tests that need what this machine does not give are skipped, and say what it is."""

import pytest

from lab import isolation
from lab.daemon_config import base_config
from lab.flowd_process import one_shot

REFUSED = ("unshare", "--no-such-namespace")


def test_a_refused_daemon(make_flowd, single, directory):
    """The test is skipped before there is a daemon, with the words of unshare."""
    daemon = make_flowd(single, base_config(directory), prefix=REFUSED)
    with pytest.raises(pytest.skip.Exception, match="needs unshare --no-such-namespace.*unrecognized"):
        daemon.start()
    assert daemon.process is None


def test_a_refused_command(directory):
    with pytest.raises(pytest.skip.Exception, match="which is refused here"):
        one_shot(directory, "version", prefix=REFUSED)


@pytest.mark.parametrize("kind", ["--mount", "--net", "--pid"])
def test_a_right_is_missing(kind):
    """What the kernel refuses counts, and what it gives is not skipped."""
    without = ("setpriv", "--bounding-set=-sys_admin", "unshare", kind)
    assert "Operation not permitted" in isolation.refusal(without)
    assert isolation.refusal(("unshare", "--net")) is None
    isolation.require(("unshare", "--net"))
    isolation.require(())
