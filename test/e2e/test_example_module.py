# SPDX-License-Identifier: Apache-2.0
"""
The modules that docs/writing-modules.md builds: a flowd with them has their options, counts what the
backend is told of, and takes what the plugin says. (build/clang has them by FLOWD_EXTRA_MODULES.)
"""

import json

from lab.api_client import Api, line
from lab.daemon_config import base_config
from lab.exposition import scrape
from lab.flowd_process import BIN_DIR, one_shot
from lab.numbers import numbers
from lab.waiting import until

PROGRAM = BIN_DIR.parent / "tests" / "flowd_examples"


def counts(api):
    status = dict(numbers(api.status()))
    return [status[f"modules.backend.tally.{key}"] for key in ("starts", "ends")]


def test_its_options_are_those_of_flowd(directory):
    """`help options`, `check` and `conf` know them from the rows alone."""
    assert "Count flows of this experiment only" in one_shot(directory, "help", "options", program=PROGRAM).stdout
    (directory / "config.json").write_text('{"backends": {"tally": {"experiment": 1024, "restord": true}}}')
    refused = one_shot(directory, "-c", "config.json", "check", program=PROGRAM)
    assert refused.returncode == 2
    assert "backends.tally.experiment" in refused.stderr and '"restored"' in refused.stderr
    (directory / "config.json").write_text('{"backends": {"tally": {}}}')
    shown = one_shot(directory, "-c", "config.json", "conf", program=PROGRAM)
    assert json.loads(shown.stdout)["backends"]["tally"] == {"restored": True, "experiment": -1}


def test_starts_and_ends(single, make_flowd, directory):
    """What the backend is told of shows everywhere; a reload changes what it counts."""
    config = base_config(directory)
    config["backends"].update(tally={}, prometheus={})
    daemon = make_flowd(single, config, program=PROGRAM).start()
    api = Api(single)
    daemon.write_fifo(line("start", "::1", 1, "::1", 2) + line("start", "::1", 3, "::1", 4))
    daemon.write_fifo(line("end", "::1", 1, "::1", 2))
    until(lambda: counts(api) == [2, 1], lambda: f"the counts: {counts(api)}")
    samples = scrape(Api(single, port=9000)).samples
    assert samples["flowd_tally_events_total", frozenset({("state", "end")})] == 1
    assert [flow["backends"]["tally"] for flow in api.flows()] == ["counted"]

    config["backends"]["tally"]["experiment"] = 500
    daemon.reload(config)
    daemon.write_fifo(line("start", "::1", 5, "::1", 6))
    until(lambda: len(api.flows()) == 2, lambda: f"the flows: {api.flows()}")
    assert sorted(flow["backends"]["tally"] for flow in api.flows()) == ["counted", "off"]
    assert counts(api) == [2, 1]


def test_a_plugin_that_speaks(single, make_flowd, directory):
    """Its first event starts the flow, the others keep it alive."""
    config = base_config(directory)
    config["plugins"]["ticker"] = {"period": 10, "experiment": 3}
    make_flowd(single, config, program=PROGRAM).start()
    api = Api(single)
    until(lambda: api.status()["events"]["ticker"]["ongoing"].get("known", 0) > 1,
          lambda: f"the events: {api.status()['events']}")
    assert [(flow["plugin"], flow["experiment"]) for flow in api.flows()] == [("ticker", 3)]
