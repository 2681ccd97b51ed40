#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
docs/log-messages.md against the sources: it has each line that flowd may log at the levels error,
warning and info, with its level, and an explanation of each. Prints what is wrong and fails.

--write brings the lines up to date and keeps what is written below each; an explanation whose line
is no more is printed, so that it can be moved to the line that took its place.
"""

import pathlib
import re
import sys
from collections import namedtuple

ROOT = pathlib.Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "log-messages.md"
BEGIN = "<!-- Lines by test/lint/log_messages.py --write from the sources, explanations by hand. -->\n"

# Who speaks, where the source does not say it by a literal; and what gathers lines for somebody
# else, who logs them.
VARIABLE = {
    ("daemon/http/", "server->name"): "plugins.api and backends.prometheus",
    ("daemon/http/", "listener->server->name"): "plugins.api and backends.prometheus",
    ("ebpf/sockops/", "sockops->name"): "plugins.iperf3 and enrichers.skops",
    ("daemon/", "path"): "each module",
}
GATHERED = {"warnings": "config", "skipped": "registry"}
REPORTED = ("state", "report->")
# What is not as it should be and may change: the reasons of /readyz, which "ready, but ..." repeats.
NOT_READY = ("reasons of /readyz", "EAGAIN")
NO_REASONS = ("daemon/base/", "daemon/fetch/")
LEVELS = ("error", "warning", "info", "debug")

Line = namedtuple("Line", "speaker text")

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_CALL = re.compile(r"\b(flowd_(?:log|log_limited|info|warning|err)|flowd_messages_add|flowd_fail|snprintf)\(")
_CONVERSION = re.compile(r"%(?:%|[-+ #0]*(?:\d+|\*)?(?:\.(?:\d+|\*))?(?:hh|h|ll|l|z|j|t)?[a-zA-Z])")
_DEFINED = re.compile(r'#define (\w+)\s+((?:\\\n\s*)?"(?:[^"\\]|\\.)*"(?:\s*\\?\n?\s*"(?:[^"\\]|\\.)*")*)')
_ENTRY = re.compile(r"- \*\*([a-z or]+)\*\* `(.*)`$")


def arguments(text, at):
    """The arguments of the call whose opening bracket stands before `at`."""
    found, depth, begin = [], 0, at
    while depth >= 0:
        string = _STRING.match(text, at)
        if string:
            at = string.end()
            continue
        char = text[at]
        depth += (char in "([{") - (char in ")]}")
        if depth < 0 or (depth == 0 and char == ","):
            found.append(" ".join(text[begin:at].split()))
            begin = at + 1
        at += 1
    return found


def literal(words, macros):
    """The text of literals and of macros that are literals; None where there is something else."""
    text = ""
    while words:
        string = _STRING.match(words)
        name = re.match(r"[A-Z_]+", words)
        if string:
            text += string[1]
        elif name and name[0] in macros:
            text += macros[name[0]]
        else:
            return None
        words = words[(string or name).end():].lstrip()
    return text


def shown(text):
    text = _CONVERSION.sub(lambda found: "%" if found[0] == "%%" else "…", text)
    return re.sub("…+", "…", text.replace('\\"', '"'))


def speaker(name, path, words, macros):
    for (place, variable), known in VARIABLE.items():
        if name.startswith(place) and words == variable:
            return known
    said = literal(words, macros)
    if said is None:
        raise SystemExit(f"{path}: who speaks is {words}: VARIABLE in {__file__} does not say who that is")
    section = re.match(r"(plugins|backends|enrichers)/", name)
    return f"{section[1]}.{said}" if section else said


def read_call(name, text, call, macros):
    """(speaker, levels, formats) of one call, or None where it is no line of the log."""
    function = call[1]
    words = arguments(text, call.end())
    if function == "snprintf":
        if not words[0].startswith(REPORTED[1]):
            return None
        who, levels, message = REPORTED[0], ["warning"], words[2]
    elif function == "flowd_fail":
        if len(words) < 3 or words[1] != NOT_READY[1] or name.startswith(NO_REASONS):
            return None
        who, levels, message = NOT_READY[0], ["warning"], words[2]
    elif function == "flowd_messages_add":
        if words[0] not in GATHERED:
            return None
        who, levels, message = GATHERED[words[0]], ["warning"], words[1]
    else:
        words = words[1:] if function == "flowd_log_limited" else words
        if function in ("flowd_log", "flowd_log_limited"):
            levels = [level.lower() for level in re.findall(r"FLOWD_LOG_([A-Z]+)", words[0])] or list(LEVELS[:3])
            words = words[1:]
        else:
            levels = [{"err": "error"}.get(function[6:], function[6:])]
        who, message = speaker(name, name, words[0], macros), words[1]
    either = re.fullmatch(r".*? \? (\".*\") : (\".*\")", message)
    formats = [literal(part, macros) for part in (either.groups() if either else [message])]
    if None in formats:
        line = text.count("\n", 0, call.start()) + 1
        raise SystemExit(f"{name}:{line}: the format is {message}, which {__file__} can't read: use a literal")
    return who, levels, formats


def lines_of_sources():
    """Line to its levels, in the order of speakers and sources."""
    texts, macros = {}, {}
    for folder in ("daemon", "ebpf", "plugins", "backends", "enrichers"):
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            texts[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
    for text in texts.values():
        for macro in _DEFINED.finditer(text):
            macros[macro[1]] = "".join(_STRING.findall(macro[2]))
    found = {}
    for name, text in texts.items():
        if name == "daemon/base/log.h":
            continue
        local = {macro[1]: "".join(_STRING.findall(macro[2])) for macro in _DEFINED.finditer(text)}
        for call in _CALL.finditer(text):
            if re.match(r"(void|int) ", text[text.rfind("\n", 0, call.start()) + 1:]):
                continue
            read = read_call(name, text, call, {**macros, **local})
            for message in read[2] if read else []:
                found.setdefault(Line(read[0], shown(message)), set()).update(read[1])
    found = {line: levels - {"debug"} for line, levels in found.items() if levels - {"debug"}}
    return dict(sorted(found.items(), key=lambda item: item[0].speaker))


def heading(who):
    return f"## {who}"


def entry(line, levels):
    return f"- **{' or '.join(level for level in LEVELS if level in levels)}** `{line.text}`"


def read_manual(made):
    """Line to (its entry, what is written below it); and what stands between heading and entries."""
    found, notes, who, line = {}, {}, None, None
    for text in made.splitlines():
        if text.startswith("## "):
            who, line = text[3:], None
        elif _ENTRY.match(text):
            line = Line(who, _ENTRY.match(text)[2])
            found[line] = (text, [])
        elif line is not None:
            found[line][1].append(text)
        else:
            notes.setdefault(who, []).append(text)
    return found, notes


def written(known, explained, notes):
    parts, who = [], None
    for line, levels in known.items():
        if line.speaker != who:
            who = line.speaker
            note = "\n".join(notes.get(who, [])).strip("\n")
            parts += ["", heading(who), ""] + ([note, ""] if note else [])
        below = "\n".join(explained.get(line, ("", []))[1]).rstrip()
        parts += [entry(line, levels)] + ([below] if below else [])
    return BEGIN + "\n".join(parts) + "\n"


def main():
    known = lines_of_sources()
    by_hand, begin, made = MANUAL.read_text(encoding="utf-8").partition(BEGIN)
    if not begin:
        raise SystemExit(f"{MANUAL}: lacks the line {BEGIN}")
    explained, notes = read_manual(made)
    gone = [line for line in explained if line not in known]
    if sys.argv[1:] == ["--write"]:
        MANUAL.write_text(by_hand + written(known, explained, notes), encoding="utf-8")
        for line in gone:
            print(f"no more: {line.speaker}: {line.text}", *explained[line][1], sep="\n")
        return 0
    name = MANUAL.relative_to(ROOT)
    wrong = [f"{name}: lacks: {line.speaker}: {line.text} ({__file__} --write, then explain it)"
             for line in known if line not in explained]
    wrong += [f"{name}: explains what is logged nowhere: {line.speaker}: {line.text}" for line in gone]
    wrong += [f"{name}: says nothing about: {line.speaker}: {line.text}"
              for line in known if line in explained and not "".join(explained[line][1]).strip()]
    if not wrong and BEGIN + made != written(known, explained, notes):
        wrong = [f"{name}: order or levels are not those of the sources: {__file__} --write"]
    print("".join(f"{line}\n" for line in wrong), end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
