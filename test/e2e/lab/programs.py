# SPDX-License-Identifier: Apache-2.0
"""Other programs that a test runs, which not every system has."""

import shutil

import pytest


def program(name):
    """Its path. Without it the test is skipped; packaging/dependencies names its package."""
    path = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path
