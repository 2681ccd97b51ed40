# SPDX-License-Identifier: Apache-2.0
"""
The manual pages have each command, option, exit status, request, counter and metric, and no other:
test/lint/man_pages.py says so of the pages as they are, and finds what is taken away or added here.
"""

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "lint"))
import man_pages  # noqa: E402


def texts():
    return {source.stem: (man_pages.PAGES / source.stem).read_text() for source in man_pages.sources()}


def test_pages_as_they_are():
    assert not man_pages.check(texts())
    assert not man_pages.check_examples(texts()["flowd.json.5"], "flowd.json.5")
    for source in man_pages.sources():
        assert man_pages.made(source) == (man_pages.PAGES / source.stem).read_text(), source


@pytest.mark.parametrize("page,line,named", [
    ("flowd.8", ".It Cm public\\-ip", "lacks public-ip"),
    ("flowd.8", ".It Fl \\-log\\-format Ar FORMAT", "lacks --log-format"),
    ("flowd.8", ".It Fl d , Fl \\-debug", "lacks -d"),
    ("flowd.8", ".It 2", "EXIT STATUS: lacks 2"),
    ("flowd.8", ".It Cm debug", "LOG: lacks debug"),
    ("flowd.8", ".It Ev NOTIFY_SOCKET", "ENVIRONMENT: lacks NOTIFY_SOCKET"),
    ("flowctl.1", ".It Cm ready", "lacks ready"),
    ("flowctl.1", ".It Fl \\-unix Ar PATH", "lacks --unix"),
    ("flowctl.1", ".It 4", "EXIT STATUS: lacks 4"),
    ("flowd.json.5", ".It Cm flows.timeout", "lacks flows.timeout"),
    ("flowd.json.5", ".It Cm backends.firefly.stun.manualMapping", "lacks backends.firefly.stun.manualMapping"),
    ("flowd.json.5", "Old spelling: workDir.", "stateDir: lacks workDir"),
    ("flowd.json.5", "Old spelling: plugins.fireflyp.", "old spelling plugins.fireflyp"),
    ("flowd.json.5", 'One of "auto", "tcx", "tc"; the default is "auto".', 'attach: lacks "tcx"'),
    ("flowd\\-metrics.7", ".It Cm closures.aborts", "closures.aborts"),
    ("flowd\\-metrics.7", ".Dv flowd_flows_max", "flowd_flows_max"),
    ("flowd\\-metrics.7", ".It Dv flow_tcp_rtt", "lacks flow_tcp_rtt"),
    ("flowd\\-metrics.7", ".It Dv flowd_ready", "lacks flowd_ready"),
    ("flowd\\-api.7", ".It Cm DELETE /v1/flows/{id}", "lacks DELETE /v1/flows/{id}"),
    ("flowd\\-api.7", ".It Ar cursor", "lacks cursor"),
    ("flowd\\-api.7", ".It Cm restarted", "RESULTS: lacks restarted"),
    ("flowd\\-api.7", ".It Cm forwarded", "marker: lacks forwarded"),
    ("flowd\\-api.7", ".It Cm unsupported", "INTERFACES: lacks unsupported"),
    ("flowd\\-api.7", ".It Cm cwnd", "SAMPLES: lacks cwnd"),
])
def test_what_is_missing(page, line, named):
    pages = texts()
    page = page.replace("\\", "")
    assert f"\n{line}\n" in pages[page]
    pages[page] = pages[page].replace(f"\n{line}\n", "\n", 1)
    assert [found for found in man_pages.check(pages) if named in found]


@pytest.mark.parametrize("page,section,entry,named", [
    ("flowd.8", "COMMANDS", ".It Cm restart", "restart"),
    ("flowd.8", "OPTIONS", ".It Fl \\-fast", "--fast"),
    ("flowd.8", "DESCRIPTION", ".It Fl \\-fast", "names --fast, which is no option"),
    ("flowctl.1", "COMMANDS", ".It Cm kill Ar ID", "kill"),
    ("flowctl.1", "EXIT STATUS", ".It 5", "has 5"),
    ("flowd.json.5", "PLUGINS", ".It Cm plugins.api.speed", "plugins.api.speed"),
    ("flowd-metrics.7", "METRICS OF FLOWD", ".It Dv flowd_luck", "flowd_luck"),
    ("flowd-api.7", "REQUESTS", ".It Cm PUT /v1/flows", "PUT /v1/flows"),
    ("flowd-api.7", "SEE ALSO", ".Xr flowd.conf 5", "flowd.conf(5)"),
])
def test_what_is_too_much(page, section, entry, named):
    pages = texts()
    pages[page], count = re.subn(rf"(\n\.Sh {section}\n)", lambda match: f"{match[1]}{entry}\n", pages[page])
    assert count == 1
    assert [found for found in man_pages.check(pages) if named in found]


def test_an_example_with_a_mistake():
    page = texts()["flowd.json.5"].replace('"namedPipe"', '"namedPype"')
    found = man_pages.check_examples(page, "flowd.json.5")
    assert len(found) == 1 and "plugins.namedPype: unknown" in found[0]
