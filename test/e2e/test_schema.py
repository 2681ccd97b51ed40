# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of the configuration says of each value what `flowd check` says of it."""

import json
import pathlib
import re

import jsonschema
import pytest

from lab.flowd_process import one_shot

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = sorted(ROOT.glob("packaging/examples/*.json")) + [ROOT / "packaging" / "config.json"]


@pytest.fixture(name="schema")
def _schema(directory):
    done = one_shot(directory, "schema")
    assert done.returncode == 0, done
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def mistakes(schema, config):
    """The paths of what the schema refuses; of an unknown key, its own."""
    found = set()
    for error in jsonschema.Draft202012Validator(schema).iter_errors(config):
        path = list(error.absolute_path)
        if error.validator == "additionalProperties":
            for key in error.instance.keys() - error.schema["properties"].keys():
                found.add(".".join([*path, key]))
            continue
        # flowd names the row, and not an item or a member of its value.
        while isinstance(path[-1], int):
            path.pop()
        if "additionalProperties" in error.absolute_schema_path:
            path.pop()
        found.add(".".join(path))
    return found


def refused(directory, config):
    """The paths of what `flowd check` refuses."""
    (directory / "wrong.json").write_text(json.dumps(config))
    done = one_shot(directory, "-c", directory / "wrong.json", "check")
    lines = [line for line in done.stderr.splitlines() if not re.match("flowd: (deprecated|warning):", line)]
    assert done.returncode == (2 if lines else 0), done
    return {re.match(r"flowd: ([\w.]+): ", line)[1] for line in lines}


def options(schema, path=()):
    """Every row: its path and its schema. Old keys are rows of their own."""
    for key, row in schema["properties"].items():
        if "$ref" in row:
            continue
        if "properties" in row:
            yield from options(row, (*path, key))
        else:
            yield (*path, key), row


def put(config, path, value):
    for key in path[:-1]:
        config = config.setdefault(key, {})
    config[path[-1]] = value


def wrong_values(row):
    """One of each kind: types, limits, words, items."""
    if "const" in row:
        return ["x", 0]
    if "anyOf" in row and "enum" in row["anyOf"][0]:
        return ["nonsense", 1, None]
    kind = row.get("type")
    if kind == "integer":
        limits = [row["minimum"] - 1, row["maximum"] + 1] if "maximum" in row else []
        return [*limits, "1", 1.5, True, {}]
    if kind == "boolean":
        return ["true", 0, None]
    if kind == "string" and "pattern" in row:
        return ["0999", 432, "06600", "66", "1777"]
    if kind == "string":
        return [1, ["x"], None]
    if kind == "array" and row["items"].get("type") == "integer":
        return ["1", [row["items"]["minimum"] - 1], [1, row["items"]["maximum"] + 1], ["1"]]
    if kind == "array":
        return ["x", [1], {"x": "y"}]
    if kind == "object":
        return [["x"], {"x": 1}, "x"]
    return []


def test_wrong_values(schema, directory):
    """Each kind of wrong value of each row is refused by both, and named by both."""
    rows = [(path, wrong_values(row)) for path, row in options(schema)
            if not row.get("x-oldSpellingOf")]
    assert len(rows) > 80
    for turn in range(max(len(wrong) for _, wrong in rows)):
        config = {}
        for path, wrong in rows:
            if turn < len(wrong):
                put(config, path, wrong[turn])
        by_flowd = refused(directory, config)
        expected = {".".join(path) for path, wrong in rows if turn < len(wrong)}
        assert expected <= by_flowd, (turn, expected - by_flowd)
        # What is no matter of a value's type and range (a module that needs another) is no schema's.
        assert mistakes(schema, config) == expected, turn


def test_unknown_keys_and_sections(schema, directory):
    sections = {path[:-1] for path, _ in options(schema)}
    config, expected = {}, set()
    for path in sections:
        put(config, (*path, "nonsense"), 1)
        expected.add(".".join((*path, "nonsense")))
    assert len(sections) > 15
    assert mistakes(schema, config) == expected == refused(directory, config)
    for path in sections - {()}:
        config = {}
        put(config, path, [])
        assert mistakes(schema, config) == {".".join(path)} == refused(directory, config)


def test_right_values(schema, directory):
    """The limits, every choice in any case, each old spelling: taken by both."""
    def turns(row):
        if "anyOf" in row and "enum" in row["anyOf"][0]:
            words = [*row["anyOf"][0]["enum"], *row["anyOf"][1].get("x-oldSpellings", {})]
            return [*words, *(word.upper() for word in words)]
        if row.get("type") == "integer" and "maximum" in row:
            return [row["minimum"], row["maximum"]]
        return [row["default"]] if "default" in row else []

    rows = [(path, turns(row)) for path, row in options(schema) if not row.get("deprecated")]
    for turn in range(max(len(values) for _, values in rows)):
        config = {}
        for path, values in rows:
            if turn < len(values):
                put(config, path, values[turn])
        assert not mistakes(schema, config), turn
        # What flowd refuses of it all is one option's bearing on another.
        assert refused(directory, config) <= {
            "plugins.api", "plugins.perfsonar.experimentId", "backends.marker.matchAll"}, turn


def test_old_spellings(schema, directory):
    """Of flowd-go's keys, together: each is taken by both, and flowd says what it has become."""
    config = {"workDir": "/x", "stunServers": ["stun.example.org"],
              "plugins": {"fireflyp": {"fireflyReceivers": [{"address": "192.0.2.1", "port": 1}]},
                          "perfsonar": {"experimentID": 1, "activityID": 2}},
              "backends": {"ebpf": {"targetInterface": "lo", "programPath": ""},
                           "prometheus": {"netlinkPort": 1, "skopsPort": 0},
                           "firefly": {"fireflyDestinationPort": 1, "sendToCollector": True,
                                       "collectorAddress": "192.0.2.1", "collectorPort": 1}}}
    assert not mistakes(schema, config)
    assert not refused(directory, config)
    known = {path[-1] for path, row in options(schema) if row.get("x-oldSpellingOf")}
    known |= {key for section in ("plugins", "backends")
              for key, row in schema["properties"][section]["properties"].items() if "$ref" in row}
    text = json.dumps(config)
    assert known and not [key for key in known if f'"{key}"' not in text]
    # Both spellings at once are a mistake.
    for both in ({"workDir": "/x", "stateDir": "/y"}, {"backends": {"ebpf": {}, "marker": {}}}):
        assert not jsonschema.Draft202012Validator(schema).is_valid(both)
        assert refused(directory, both)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples(schema, directory, path):
    config = json.loads(path.read_text())
    assert not mistakes(schema, config)
    assert not refused(directory, config)


def test_what_conf_prints(schema, directory):
    everything = {section: {key: {} for key, row in schema["properties"][section]["properties"].items()
                            if "properties" in row and not row.get("deprecated")}
                  for section in ("plugins", "backends", "enrichers")}
    (directory / "all.json").write_text(json.dumps(everything))
    done = one_shot(directory, "-c", directory / "all.json", "conf")
    assert done.returncode == 0, done
    assert not mistakes(schema, json.loads(done.stdout))


def test_the_committed_schema(schema):
    """What is installed is what the program prints."""
    assert json.loads((ROOT / "docs" / "config.schema.json").read_text()) == schema
