# SPDX-License-Identifier: Apache-2.0
"""Each test written for pytest has the fixtures of test/e2e/lab."""

pytest_plugins = ("lab.fixtures",)
