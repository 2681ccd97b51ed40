# SPDX-License-Identifier: Apache-2.0
"""The fixtures and hooks of the end-to-end tests."""

import importlib.util
import pathlib
import sys

_E2E = pathlib.Path(__file__).parents[1] / "e2e"
sys.path.insert(0, str(_E2E))
_spec = importlib.util.spec_from_file_location("e2e_conftest", _E2E / "conftest.py")
e2e_conftest = importlib.util.module_from_spec(_spec)
sys.modules["e2e_conftest"] = e2e_conftest
_spec.loader.exec_module(e2e_conftest)
globals().update({name: value for name, value in vars(e2e_conftest).items() if not name.startswith("__")})
