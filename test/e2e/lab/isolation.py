# SPDX-License-Identifier: Apache-2.0
"""
What a test asks of unshare(1), and whether it can be had here.

A chroot whose / is no mount point refuses mounts of one's own, and any chroot, many sandboxes and
user.max_user_namespaces=0 refuse users of one's own. A test that needs either is skipped there, with
what unshare said.
"""

import functools
import subprocess

import pytest


@functools.cache
def refusal(prefix):
    """Why a command with the prefix, a tuple, does not run here; None where it does."""
    done = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


def require(prefix):
    """Skips the calling test where unshare does not give what the prefix of a command asks of it."""
    prefix = tuple(map(str, prefix))
    if prefix[:1] == ("unshare",):
        reason = refusal(prefix)
        if reason is not None:
            pytest.skip(f"it needs {' '.join(prefix[:2])}, which is refused here: {reason}")
