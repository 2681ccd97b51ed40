#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The tables that manual pages are made of: what the built programs say of their commands, options and
exit statuses (--help), the configuration's schema (flowd schema), the rows of counters and metrics,
the API's operations. man_pages.py makes the pages, and checks them by these tables.
"""

import functools
import json
import os
import pathlib
import re
import subprocess
from collections import namedtuple

import counters

ROOT = pathlib.Path(__file__).parents[2]
BIN = pathlib.Path(os.environ.get("FLOWD_BIN_DIR") or ROOT / "build" / "dev" / "bin")

Entry = namedtuple("Entry", "name doc")
Option = namedtuple("Option", "key row old")
Operation = namedtuple("Operation", "method path summary parameters")
_STRING = r'"((?:[^"\\]|\\.)*)"'


@functools.lru_cache(maxsize=None)
def output(program, *arguments):
    return subprocess.run([BIN / program, *arguments], check=True, capture_output=True, text=True).stdout


class Help:
    """What a program's --help lists: of commands and options the name with its arguments."""

    def __init__(self, program):
        self.program = program
        text = output(program, "--help")
        self.usage = text.partition("\n")[0].removeprefix("usage: ")
        self.commands = self._entries(text, "commands")
        self.options = self._entries(text, "options")
        self.exits = self._entries(text, "exit status")

    @staticmethod
    def _entries(text, title):
        block = re.search(rf"^{title}:\n((?:  .*\n)+)", text, re.MULTILINE)[1]
        entries = []
        for line in block.splitlines():
            if not line.startswith("   "):
                name, _, doc = line.strip().partition("  ")
                entries.append(Entry(name, doc.strip()))
            else:
                entries[-1] = Entry(entries[-1].name, f"{entries[-1].doc} {line.strip()}".strip())
        return entries


@functools.lru_cache(maxsize=None)
def schema():
    return json.loads(output("flowd", "schema"))


def sections(root=None):
    """Of each section of the configuration: its path, its schema and its rows with their old keys."""
    root = root or schema()
    found = []

    def walk(path, section):
        rows = section["properties"]
        own = [(key, row) for key, row in rows.items()
               if "properties" not in row and not row.get("x-oldSpellingOf")]
        old = {key: row for key, row in rows.items() if row.get("x-oldSpellingOf")}
        options = [Option(key, row, [name for name, other in old.items()
                                     if other["x-oldSpellingOf"] == key and "default" not in other
                                     and other["description"].startswith("The old spelling of")])
                   for key, row in own]
        named = {name for option in options for name in option.old}
        options += [Option(key, row, []) for key, row in old.items()
                    if key not in named and "$ref" not in row]
        if options or path.count(".") == 1:
            found.append((path, section, options))
        for key, row in rows.items():
            if "properties" in row:
                walk(f"{path}.{key}" if path else key, row)

    walk("", root)
    return found


def module_aliases(root):
    """Paths of modules' old keys, to the keys that there are now."""
    return {f"{section}.{key}": row["x-oldSpellingOf"] for section in ("plugins", "backends", "enrichers")
            for key, row in root["properties"][section]["properties"].items() if "$ref" in row}


@functools.lru_cache(maxsize=None)
def operations():
    found = []
    for path, item in json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                found.append(Operation(method.upper(), path, operation["summary"], operation.get("parameters", [])))
    return found


def tcp_rows():
    """Of each TCP quantity: (macro, name, the rest of its row with its doc last)."""
    text = (ROOT / "daemon" / "tcp" / "tcp_field.c").read_text()
    table = re.search(r"flowd_tcp_fields\[\] = \{(.*?)\n\};", text, re.DOTALL)[1]
    found = re.findall(rf"^    (\w+)\({_STRING}, (.*)\),$", table, re.MULTILINE)
    if len(found) != len([line for line in table.splitlines() if line]):
        raise SystemExit(f"tcp_field.c: a row that {__file__} can't read")
    return found


@functools.lru_cache(maxsize=None)
def samples():
    return [Entry(name, re.search(rf"{_STRING}$", rest)[1]) for _, name, rest in tcp_rows()]


@functools.lru_cache(maxsize=None)
def backend_statuses():
    """Of each backend: the words of its table."""
    found = {}
    for path in sorted((ROOT / "backends").rglob("*.c")):
        table = re.search(r"struct flowd_backend_status statuses\[\w*\] = \{(.*?)\n?\};", path.read_text(), re.DOTALL)
        if table:
            found[path.parent.name] = set(re.findall(rf"\{{{_STRING}, (?:true|false)\}}", table[1]))
    return found


@functools.lru_cache(maxsize=None)
def results():
    text = (ROOT / "daemon" / "hub" / "source.c").read_text()
    return set(re.findall(_STRING, re.search(r"flowd_result_names\[\w+\] = \{(.*?)\};", text, re.DOTALL)[1]))


@functools.lru_cache(maxsize=None)
def interface_states():
    text = (ROOT / "backends" / "marker" / "interfaces.c").read_text()
    return set(re.findall(_STRING, re.search(r"state_names\[\] = \{(.*?)\};", text, re.DOTALL)[1]))


@functools.lru_cache(maxsize=None)
def flow_metrics():
    """Of each sampled flow: (metric, type, help), as backends/prometheus/series.c makes them of the rows."""
    found = []
    for macro, name, rest in tcp_rows():
        if macro == "SOCKET_MEMORY" or re.search(r"\b(LEAN_)?METRIC\b", rest):
            is_counter = macro == "COUNTER"
            found.append((f"flow_tcp_{name}{'_total' if is_counter else ''}",
                          "counter" if is_counter else "gauge", re.search(rf"{_STRING}$", rest)[1] + "."))
    source = (ROOT / "backends" / "prometheus" / "series.c").read_text()
    ending = re.search(rf'PREFIX "(\w+)", FLOWD_METRIC_(\w+),\s*{_STRING}', source)
    found.append((f"flow_tcp_{ending[1]}", ending[2].lower(), ending[3]))
    return found


@functools.lru_cache(maxsize=None)
def counter_rows():
    return counters.rows()


@functools.lru_cache(maxsize=None)
def metrics_without_rows():
    """(metric, type, help) of what is no counter's."""
    known = counters.metrics()
    in_rows = {row.metric for row in counter_rows()}
    return sorted({metric for metric in known.values() if metric[0] not in in_rows})
