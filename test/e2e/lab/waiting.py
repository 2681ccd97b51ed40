# SPDX-License-Identifier: Apache-2.0
"""Waiting in tests: poll a condition to a deadline, never sleep a fixed time."""

import os
import time

DEADLINE_S = float(os.environ.get("FLOWD_TEST_DEADLINE_S") or 30)


def until(check, what, timeout=DEADLINE_S, interval=0.01):
    """Calls check() until it returns something true and returns that; fails after the timeout."""
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() >= deadline:
            what = what() if callable(what) else what
            raise AssertionError(f"waited {timeout:g} s in vain: {what}")
        time.sleep(interval)
