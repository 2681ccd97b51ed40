# SPDX-License-Identifier: Apache-2.0
"""Reads Prometheus' text format and OpenMetrics, strictly, and what test/data says of their names."""

import pathlib
import re

TYPES = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
_LABEL = re.compile(rf'({_NAME})="((?:[^"\\\n]|\\[\\"n])*)"(,|\Z)')
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.+)\}})? ([0-9]+(?:\.[0-9]+)?)\Z")
_HEAD = re.compile(rf"# (HELP|TYPE) ({_NAME}) (.+)\Z")


def documented():
    """The series of a flow, name to type, as test/data/metrics_flowd.txt has them."""
    text = (pathlib.Path(__file__).parents[2] / "data" / "metrics_flowd.txt").read_text()
    return dict(one.split()[:2] for one in text.splitlines() if one and not one.startswith("#"))


def _labels(text):
    labels, at = {}, 0
    while text is not None and at < len(text):
        match = _LABEL.match(text, at)
        assert match, f"labels {text!r}"
        assert match[1] not in labels, f"{match[1]} twice in {text!r}"
        labels[match[1]] = re.sub(
            r"\\(.)", lambda one: "\n" if one[1] == "n" else one[1], match[2])
        at = match.end()
    return labels


class Metrics:
    """
    One answer. Every family is in one piece behind its HELP and TYPE, every series there once, each
    sample of a family bears its name.
    """

    def __init__(self, text, openmetrics=False):
        self.types, self.samples, helps = {}, {}, {}
        family = None
        assert text.endswith("\n")
        lines = text[:-1].split("\n")
        if openmetrics:
            assert lines.pop() == "# EOF"
        for line in lines:
            head = _HEAD.match(line)
            if head:
                known = helps if head[1] == "HELP" else self.types
                assert head[2] not in known, f"{head[1]} of {head[2]} twice"
                known[head[2]] = head[3]
                family = head[2]
                continue
            sample = _SAMPLE.match(line)
            assert sample, f"line {line!r}"
            counter = self.types[family] == "counter"
            assert sample[1] == family + ("_total" if counter and openmetrics else ""), line
            series = (sample[1], frozenset(_labels(sample[2]).items()))
            assert series not in self.samples, f"{line!r} is there twice"
            self.samples[series] = float(sample[3])
        assert helps.keys() == self.types.keys()
        assert set(self.types.values()) <= {"gauge", "counter"}

    def names(self):
        return {name for name, _ in self.samples}

    def labels(self, name):
        """The labels of each series of that name."""
        return [dict(labels) for one, labels in self.samples if one == name]

    def value(self, name, /, **labels):
        """The sum over the series of that name that have these labels; None: there is none."""
        values = [value for (one, its), value in self.samples.items()
                  if one == name and labels.items() <= dict(its).items()]
        return sum(values) if values else None

    def flow(self, sport):
        """Name to value of everything that the flow with this source port has."""
        return {name: value for (name, labels), value in self.samples.items()
                if dict(labels).get("flow", "").startswith(f"{sport}:")}


def scrape(api, accept=None):
    """Asks for /metrics; the answer must be of the type that was asked for."""
    answer = api.get("/metrics", headers={"Accept": accept} if accept else {}).expect(200)
    openmetrics = accept is not None and "openmetrics" in accept
    assert answer.headers["Content-Type"] == TYPES["openmetrics" if openmetrics else "text"]
    return Metrics(answer.body.decode(), openmetrics)
