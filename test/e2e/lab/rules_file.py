# SPDX-License-Identifier: Apache-2.0
"""The rules of packaging/prometheus as text: which there are, and their expressions."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[3]
RULES = ROOT / "packaging" / "prometheus" / "flowd.rules.yml"
TESTS = RULES.with_name("flowd.rules.test.yml")


def rules(kind):
    """Name to text of each rule of a kind (record, alert), whose expression is its first part."""
    text = RULES.read_text()
    found = re.findall(rf"- {kind}: (\S+)\n(.*?)(?=\n      - |\n  - |\Z)", text, re.DOTALL)
    assert len(found) > 3
    return dict(found)


def rule_expressions():
    every = {**rules("record"), **rules("alert")}
    found = [re.search(r"expr: (?:\|\n)?(.*?)(?=\n        \w+:|\n\n|\Z)", text, re.DOTALL)[1] for text in every.values()]
    # Lines that begin with # are not the expression's.
    return [re.sub(r"(?m)^\s*#.*$", "", one).strip() for one in found]
