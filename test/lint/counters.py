#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
docs/counters.md against the sources: its table has every row of a struct flowd_counter, and the
manual names every other metric. Prints what is wrong and fails; --write makes the table anew.
"""

import pathlib
import re
import sys
from collections import namedtuple

ROOT = pathlib.Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "counters.md"
BEGIN = "<!-- Made by test/lint/counters.py --write from the sources. -->\n"

# title: what counts it; where: its objects in the status, as (list or object, kind, name); label:
# the one that all its metrics have, with the object's name. A module is its folder but for these.
Place = namedtuple("Place", "title where label")
PLACES = {
    "daemon/daemon_metrics.c": Place("The daemon", [()], None),
    "daemon/registry_updates.c": Place("The daemon", [()], None),
    "daemon/hub/hub_status.c": Place("The daemon", [()], None),
    "daemon/liveness/": Place("The daemon", [()], None),
    "daemon/hub/source.c": Place("Each source of events, in `events`", [("events",)], "plugin"),
    "daemon/http/": Place("Plugin `api` and backend `prometheus`",
                          [("modules", "plugin", "api"), ("modules", "backend", "prometheus")], "server"),
    "ebpf/sockops/": Place("Plugin `iperf3` and enricher `skops`",
                           [("modules", "plugin", "iperf3"), ("modules", "enricher", "skops")], "module"),
    "plugins/fifo/": Place("Plugin `namedPipe`", [("modules", "plugin", "namedPipe")], None),
    "daemon/stun/": Place("Backend `firefly`", [("modules", "backend", "firefly")], None),
    "backends/firefly/collectors.c":
        Place("Each collector, in `collectors` of backend `firefly`", [("modules", "backend", "firefly", "collectors")],
              "destination"),
    "backends/marker/interfaces.c#shared_counters":
        Place("Backend `marker`", [("modules", "backend", "marker")], "interface"),
    "backends/marker/interfaces.c#packet_counters":
        Place("Each interface, in `packets` of its object in `interfaces`", [("interfaces", "packets")],
              "interface"),
}
Row = namedtuple("Row", "place key metric type help labels is_time")

_STRING = r'"((?:[^"\\]|\\.)*)"'
_METRIC = re.compile(rf'const struct flowd_metric (\w+) = \{{\s*"(\w+)",\s*FLOWD_METRIC_(\w+),\s*((?:{_STRING}\s*)+)\}}')
_TABLE = re.compile(r"const struct flowd_counter (\w+)\[\] = \{(.*?)\n\};", re.DOTALL)
_ROW = re.compile(rf'\{{\.key = {_STRING},\s*\.metric = &(\w+),\s*(?:\.labels = \{{([^}}]*)\}},\s*)?\w*COUNTED\([^;]*?\)'
                  r"(?:,\s*\.is_time = (true))?\}")


def sources():
    for folder in ("daemon", "ebpf", "plugins", "backends", "enrichers"):
        yield from sorted((ROOT / folder).rglob("*.c"))


def place_of(path, table):
    name = str(path.relative_to(ROOT))
    for prefix, place in PLACES.items():
        if f"{name}#{table}" == prefix or name.startswith(prefix):
            return place
    module = re.match(r"(plugin|backend|enricher)s/(\w+)/", name)
    if module is None:
        raise SystemExit(f"{name}: {table}: PLACES in {__file__} does not say what counts it")
    kind, its = module.groups()
    return Place(f"{kind.capitalize()} `{its}`", [("modules", kind, its)], kind if kind == "enricher" else None)


def metrics():
    """Every metric of the sources: (file, C name) to (name, type, help)."""
    found = {}
    for path in sources():
        for match in _METRIC.finditer(path.read_text()):
            text = "".join(re.findall(_STRING, match[4]))
            found[path, match[1]] = (match[2], match[3].lower(), text)
    return found


def rows(known=None):
    """Every row: those of the daemon first, then those of its modules."""
    known = known or metrics()
    elsewhere = {name: metric for (_, name), metric in known.items() if name.startswith("flowd_")}
    found = []
    for path in sources():
        for table in _TABLE.finditer(path.read_text()):
            read = _ROW.findall(table[2])
            if len(read) != table[2].count(".metric ="):
                raise SystemExit(f"{path}: {table[1]}: a row that {__file__} can't read")
            for key, metric, labels, is_time in read:
                words = re.findall(_STRING, labels)
                found.append(Row(place_of(path, table[1]), key, *(known.get((path, metric)) or elsewhere[metric]),
                                 dict(zip(words[::2], words[1::2])), bool(is_time)))
    first = ["The daemon", PLACES["daemon/hub/source.c"].title]
    return sorted(found, key=lambda row: (first.index(row.place.title) if row.place.title in first else len(first),
                                          row.place.title))


def written(found):
    """The part of the manual that is made."""
    lines, title = [], None
    for row in found:
        if row.place.title != title:
            title = row.place.title
            lines += ["", f"## {title}", "", "| in the status | metric | what |", "| --- | --- | --- |"]
        empty = {"interface": ""} if row.key == "packetsOfNoFlow" else {}
        labels = [f'{row.place.label}="{"" if empty else "..."}"'] if row.place.label else []
        labels += [f'{name}="{value}"' for name, value in row.labels.items()]
        series = row.metric + (f"{{{','.join(labels)}}}" if labels else "")
        lines.append(f"| `{row.key}` | `{series}` | {row.help} |")
    return BEGIN + "\n".join(lines) + "\n"


def main():
    known = metrics()
    found = rows(known)
    by_hand, _, made = MANUAL.read_text().partition(BEGIN)
    if sys.argv[1:] == ["--write"]:
        MANUAL.write_text(by_hand + written(found))
        return 0
    wrong = [] if BEGIN + made == written(found) else [f"{MANUAL}: is not what the rows say: {__file__} --write"]
    in_rows = {row.metric for row in found}
    wrong += [f"{MANUAL}: does not name {name}" for name, _, _ in known.values()
              if name not in in_rows and f"`{name}`" not in by_hand]
    # Written without rows: those of events, and of the example of a module.
    named = {name for name, _, _ in known.values()} | {"flowd_events_total", "flowd_tally_events_total"}
    for page in sorted(MANUAL.parent.glob("*.md")):
        wrong += [f"{page}: names {name}, which is no metric"
                  for name in sorted(set(re.findall(r"\bflowd_[a-z_]+_total\b", page.read_text())) - named)]
    # OpenMetrics names a counter's family without the suffix, and a family is there once.
    names = {name for name, _, _ in known.values()}
    wrong += [f"{name}: in OpenMetrics that is the family of {name}_total, too"
              for name in sorted(names) if f"{name}_total" in names]
    print("".join(f"{line}\n" for line in wrong), end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
