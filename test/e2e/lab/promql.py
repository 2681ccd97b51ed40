# SPDX-License-Identifier: Apache-2.0
"""What a PromQL expression names: its metrics, and the labels that it asks of them."""

import re

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"\{[^}]*\}|\[[^\]]*\]")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\(|[a-zA-Z0-9_:])")
_SELECTED = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_WORDS = {"and", "or", "unless", "bool", "offset"}


def metrics_in(expression):
    for passed_over in (_STRING, _SELECTOR, _GROUPING):
        expression = passed_over.sub(" ", expression)
    return set(_NAME.findall(expression)) - _WORDS


def matchers_in(expression):
    """Of each selector with labels: the metric, and its [(label, operator, value)]."""
    return [(metric, _MATCHER.findall(inside)) for metric, inside in _SELECTED.findall(expression)]


def grouped_by(expression):
    """The labels in by (...), without (...) and the like."""
    return {label for inside in re.findall(r"\(([^)]*)\)", " ".join(_GROUPING.findall(expression)))
            for label in re.findall(r"\w+", inside)}


def selects(labels, matchers):
    """Whether a series with these labels passes; a label that it lacks is an empty one."""
    for label, operator, value in matchers:
        is_equal = (re.fullmatch(value, labels.get(label, "")) is not None) if "~" in operator else \
            labels.get(label, "") == value
        if is_equal == operator.startswith("!"):
            return False
    return True
