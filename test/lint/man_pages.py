#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The manual pages, docs/man/NAME.SECTION, of what stands beside them in NAME.SECTION.in: prose as it
is, and for a line "@..." a list from a table (man_tables.py). With "@about ENTRY" begins prose for
one entry of the list before, which "@end" ends. Prints what is wrong and fails; --write makes the
pages anew.

Checked are the pages that are kept, not what has just been made: by the lists of the tables, in both
directions; and by mandoc, groff and lexgrog, of which FLOWD_TEST_STRICT=1 wants each.
"""

import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import man_tables
from man_mdoc import Page, argument, literal, text
from man_tables import BIN, ROOT

PAGES = ROOT / "docs" / "man"
MADE = '.\\" Made of docs/man/{}.in and the programs\' tables: test/lint/man_pages.py --write\n'
HEAD = '.\\" SPDX-License-Identifier: Apache-2.0\n'


def commands(program):
    for entry in man_tables.Help(program).commands:
        name, _, rest = entry.name.partition(" ")
        tag = f".It Cm {argument(name)}"
        for word in re.findall(r"\[[^]]*\]|\S+", rest):
            if word.startswith("["):
                flag, _, value = word[1:-1].partition(" ")
                inner = f"Fl {argument(flag[1:])} Ar {value}" if flag.startswith("-") else f"Ar {argument(flag)}"
                tag += f" Oo {inner} Oc"
            else:
                tag += " |" if word == "|" else f" Ar {argument(word)}"
        yield name, [tag, text(sentence(entry.doc))]


def sentence(doc):
    first = doc[:1] if doc.startswith("flow") else doc[:1].upper()
    return first + doc[1:] + ("" if doc.endswith(".") else ".")


def flags(program):
    for entry in man_tables.Help(program).options:
        words = re.findall(r"--?[\w-]+", entry.name)
        value = re.search(r" ([A-Z]+)$", entry.name)
        tag = " , ".join(f"Fl {argument(word[1:])}" for word in words) + (f" Ar {value[1]}" if value else "")
        yield words[-1], [f".It {tag}", text(sentence(entry.doc))]


def exits(program):
    for entry in man_tables.Help(program).exits:
        yield entry.name, [f".It {entry.name}", text(sentence(entry.doc))]


def kind_of(row):
    """A row's type, limits and unit in words."""
    if "anyOf" in row and "enum" in row["anyOf"][0]:
        return "one of " + ", ".join(json.dumps(word) for word in row["anyOf"][0]["enum"])
    if "const" in row:
        return "an empty string"
    if row.get("type") == "array":
        of = row["items"]
        return "a list of strings" if of.get("type") != "integer" else f"a list of {limits('integers', of)}"
    if row.get("type") == "object":
        return "an object whose members are strings"
    if row.get("type") == "integer":
        return limits("an integer", row)
    if row.get("type") == "string" and "pattern" in row:
        return "permission bits as an octal string"
    return {"string": "a string", "boolean": "true or false"}.get(row.get("type"), "anything")


def limits(word, row):
    if "maximum" in row:
        word += f" from {row['minimum']} to {row['maximum']}"
    return word + (f" {row['x-unit']}" if "x-unit" in row else "")


def option_lines(option):
    row = option.row
    words = kind_of(row)
    if "default" in row:
        words += f"; the default is {json.dumps(row['default'])}"
    if row.get("x-reload"):
        words += "; can change on SIGHUP"
    lines = [text(sentence(words)), ".br", text(sentence(row["description"]))]
    if "x-instead" in row:
        lines.append(text(sentence(row["x-instead"])))
    if option.old:
        lines.append(text(f"Old spelling: {', '.join(option.old)}."))
    old = row["anyOf"][1].get("x-oldSpellings", {}) if "anyOf" in row else {}
    if old:
        lines.append(text("Old values: " + ", ".join(f'"{name}" ({now})' for name, now in old.items()) + "."))
    if row.get("x-oldSpellingOf"):
        lines.append(text(f"Old: use {row['x-oldSpellingOf']}."))
    return lines


def options(path):
    root = man_tables.schema()
    for its, section, rows in man_tables.sections(root):
        if its == ("" if path == "." else path):
            break
    else:
        raise SystemExit(f"docs/man: no section {path} is in the configuration")
    before = []
    if "description" in section and path != ".":
        before.append(text(sentence(section["description"].partition(" ")[2] if path.count(".") == 1
                                    else section["description"])))
    before += [text(f"Old spelling: {old}.") for old, now in man_tables.module_aliases(root).items()
               if path == f"{old.partition('.')[0]}.{now}"]
    if not rows:
        return before, []
    return before, [(option.key, [f".It Cm {argument(f'{its}.{option.key}' if its else option.key)}",
                                  *option_lines(option)]) for option in rows]


def operations():
    for one in man_tables.operations():
        lines = [f".It Cm {one.method} {argument(one.path)}", text(sentence(one.summary))]
        query = [parameter for parameter in one.parameters if parameter.get("in") == "query"]
        if query:
            lines += ["Parameters:", ".Bl -tag -width samples -compact"]
            for parameter in query:
                its = parameter["schema"]
                words = parameter.get("description") or f"From {its['minimum']} to {its['maximum']}."
                words += f" The default is {json.dumps(its['default'])}." if "default" in its else ""
                lines += [f".It Ar {argument(parameter['name'])}", text(sentence(words))]
            lines.append(".El")
        yield f"{one.method} {one.path}", lines


def series(row):
    labels = [f'{row.place.label}="{"" if row.key == "packetsOfNoFlow" else "..."}"'] if row.place.label else []
    labels += [f'{name}="{value}"' for name, value in row.labels.items()]
    return row.metric + (f"{{{','.join(labels)}}}" if labels else "")


def samples():
    for entry in man_tables.samples():
        yield entry.name, [f".It Cm {argument(entry.name)}", text(sentence(entry.doc))]


def counter_lines():
    """Counters of one metric stand together."""
    lines, title, metric = [], None, None
    for row in man_tables.counter_rows():
        if row.place.title != title:
            lines += [".El"] if title else []
            title, metric = row.place.title, None
            lines += [f".Ss {argument(title.replace('`', ''))}", ".Bl -tag -width Ds"]
        lines += [f".It Cm {argument(row.key)}", f".Dv {argument(series(row), breaks=',')}"]
        if row.metric != metric:
            lines += [".br", text(sentence(row.help))]
        metric = row.metric
    return [*lines, ".El"]


def metrics(rows):
    for name, kind, words in rows:
        yield name, [f".It Dv {argument(name)}", text(f"({kind}) {sentence(words)}")]


LISTS = {"commands": commands, "options-of": flags, "exits": exits, "operations": operations, "samples": samples,
         "metrics": lambda: metrics(man_tables.metrics_without_rows()),
         "flow-metrics": lambda: metrics(man_tables.flow_metrics())}


def take_abouts(lines):
    """The blocks "@about NAME ... @end" that come next, by name."""
    found = {}
    while lines and lines[0].startswith("@about "):
        name = lines.pop(0).partition(" ")[2]
        found[name] = []
        while lines[0] != "@end":
            found[name].append(lines.pop(0))
        lines.pop(0)
    return found


def made_list(words, lines):
    name, *parameters = words
    if name == "counters":
        return counter_lines()
    if name == "example":
        return [".Bd -literal -offset indent", literal((ROOT / parameters[0]).read_text()), ".Ed"]
    before, entries = options(*parameters) if name == "options" else ([], list(LISTS[name](*parameters)))
    abouts = take_abouts(lines)
    out = [*before, *([".Bl -tag -width Ds"] if entries else [])]
    for entry, its in entries:
        out += its + abouts.pop(entry, [])
    if abouts:
        raise SystemExit(f"docs/man: @{' '.join(words)} has no {', '.join(abouts)}")
    return out + ([".El"] if entries else [])


def made(source):
    """The page of a source."""
    lines = source.read_text().splitlines()
    out = []
    while lines:
        line = lines.pop(0)
        out += made_list(line[1:].split(), lines) if line.startswith("@") else [line]
    return HEAD + MADE.format(source.stem) + "\n".join(line for line in out if not line.startswith('.\\"')) + "\n"


def sources():
    return sorted(PAGES.glob("*.in"))


def differences(what, said, meant):
    return [f"{what}: lacks {one}" for one in sorted(meant - said)] + \
        [f"{what}: has {one}, which is in no table" for one in sorted(said - meant)]


def check_program(page, program, where):
    known = man_tables.Help(program)
    names = {entry.name.split(" ")[0] for entry in known.commands}
    listed = {words for entry in known.options for words in re.findall(r"--?[\w-]+", entry.name)}
    named = {f"-{word}" for line in page.text_of_all().splitlines() if line.startswith(".")
             for word in re.findall(r"\bFl (-?[\w-]+)", line)}
    in_list = {f"-{word}" for tag in page.tags_of("OPTIONS", "Fl")
               for word in re.findall(r"-?[\w-]+", " ".join(w for w in tag if w not in ("Fl", ",", "Ar") and not w.isupper()))}
    return differences(f"{where}: COMMANDS", {tag[0] for tag in page.tags_of("COMMANDS", "Cm")}, names) + \
        differences(f"{where}: OPTIONS", in_list, listed) + \
        [f"{where}: names {word}, which is no option" for word in sorted(named - listed)] + \
        differences(f"{where}: EXIT STATUS", {tag[0] for tag in page.tags.get(("EXIT STATUS", ""), [])},
                    {entry.name for entry in known.exits})



def check_options(page, where):
    root = man_tables.schema()
    wrong, meant = [], set()
    said = {tag[0] for section in page.sections() for tag in page.tags_of(section, "Cm")}
    for path, _, rows in man_tables.sections(root):
        title = path if path else "top level"
        for option in rows:
            full = f"{path}.{option.key}" if path else option.key
            meant.add(full)
            its = page.item_text("Cm", full, title)
            words = list(option.old)
            if "anyOf" in option.row and "enum" in option.row["anyOf"][0]:
                words += [json.dumps(word) for word in option.row["anyOf"][0]["enum"]]
                words += option.row["anyOf"][1].get("x-oldSpellings", {})
            words += [str(option.row[key]) for key in ("minimum", "maximum", "x-unit") if key in option.row]
            words += [json.dumps(option.row["default"])] if "default" in option.row else []
            wrong += [f"{where}: {full}: lacks {word}" for word in words if word not in its]
    wrong += [f"{where}: lacks the old spelling {old}" for old in man_tables.module_aliases(root)
              if f"Old spelling: {old}." not in page.text_of_all()]
    return differences(where, said, meant) + wrong


def check_metrics(page, where):
    rows = man_tables.counter_rows()
    wrong = []
    for title in {row.place.title for row in rows}:
        sub = title.replace("`", "")
        said = {(tag[0], " ".join(below[1:])) for tag, below in page.pairs_of("COUNTERS", sub)}
        meant = {(row.key, series(row)) for row in rows if row.place.title == title}
        wrong += differences(f"{where}: {sub}", {" ".join(one) for one in said}, {" ".join(one) for one in meant})
    for section, others in (("METRICS OF FLOWD", man_tables.metrics_without_rows()),
                            ("METRICS OF FLOWS", man_tables.flow_metrics())):
        wrong += differences(f"{where}: {section}", {tag[0] for tag in page.tags_of(section, "Dv")},
                             {metric for metric, _, _ in others})
    return wrong


def check_operations(page, where):
    said = {" ".join(tag) for tag in page.tags_of("REQUESTS", "Cm")}
    wrong = differences(where, said, {f"{one.method} {one.path}" for one in man_tables.operations()})
    for one in man_tables.operations():
        its = page.item_text("Cm", f"{one.method} {one.path}", "REQUESTS")
        wrong += [f"{where}: {one.method} {one.path}: lacks {parameter['name']}" for parameter in one.parameters
                  if parameter.get("in") == "query" and f".It Ar {parameter['name']}" not in its]
    return wrong


def check_words(page, where):
    """What answers have words for, by the tables of who says them."""
    def listed(section, sub=None):
        return {tag[0] for tag in page.tags_of(section, "Cm", sub)}

    wrong = differences(f"{where}: RESULTS", listed("RESULTS"), man_tables.results())
    wrong += differences(f"{where}: INTERFACES", listed("INTERFACES"), man_tables.interface_states())
    wrong += differences(f"{where}: SAMPLES", listed("SAMPLES"), {entry.name for entry in man_tables.samples()})
    subs = {sub for section, sub in page.tags if section == "BACKENDS"}
    wrong += differences(f"{where}: BACKENDS", subs, set(man_tables.backend_statuses()))
    for backend, words in man_tables.backend_statuses().items():
        wrong += differences(f"{where}: {backend}", listed("BACKENDS", backend), words)
    return wrong


def check_levels(page, where):
    """Log levels and formats are choices of the configuration; flowd(8) explains each."""
    log = man_tables.schema()["properties"]["log"]["properties"]
    meant = {word for key in ("level", "format") for word in log[key]["anyOf"][0]["enum"]}
    return differences(f"{where}: LOG", {tag[0] for tag in page.tags_of("LOG", "Cm")}, meant)


# What libcurl reads for the daemon; flowctl has it read nothing.
BY_LIBCURL = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}


@functools.lru_cache(maxsize=None)
def variables(folders):
    """What the program's sources read of the environment."""
    read = {name for folder in folders for path in sorted((ROOT / folder).rglob("*.c"))
            for name in re.findall(r'(?:getenv\(|\{(?="SSL_))"(\w+)"', path.read_text())}
    return read | BY_LIBCURL if "daemon" in folders else read


def check_environment(page, folders, where):
    return differences(f"{where}: ENVIRONMENT", {word for tag in page.tags_of("ENVIRONMENT", "Ev")
                                                 for word in tag if word not in ("Ev", ",")}, variables(folders))


def check_examples(source, where):
    """Each whole configuration that a page shows is one that `flowd check` takes."""
    wrong = []
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "config.json"
        blocks = [block for block in Page(source).literals() if block.lstrip().startswith("{")]
        for block in blocks:
            path.write_text(block)
            done = subprocess.run([BIN / "flowd", "-c", path, "check"], capture_output=True, text=True)
            wrong += [f"{where}: an example: {done.stderr}"] if done.returncode else []
    return wrong if blocks else [f"{where}: has no example"]


def check_by_tools(paths):
    """Warnings of mandoc and groff, and what makewhatis will find."""
    wrong = []
    # Lines of one long word can't be adjusted, of which groff 1.23 warns: none is.
    calls = {"mandoc": ["mandoc", "-T", "lint", "-W", "warning,stop", *paths],
             "groff": ["groff", "-ww", "-dAD=l", "-Tutf8", "-mdoc", "-z", *paths],
             "lexgrog": ["lexgrog", *paths]}
    for tool, call in calls.items():
        if shutil.which(tool) is None:
            print(f"man_pages.py: left out: {tool}, which is not installed (make deps-test)")
            wrong += [f"{tool} is missing"] if os.environ.get("FLOWD_TEST_STRICT") == "1" else []
            continue
        done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
        if done.returncode or done.stderr:
            wrong.append(f"{tool}: {done.stdout}{done.stderr}")
        if tool == "lexgrog":
            wrong += [f"lexgrog: {path}: no name and purpose" for path in paths
                      if f'"{path.stem} - ' not in done.stdout]
    return wrong


def check(texts):
    """What is wrong with the pages, whose names and texts these are, by the tables."""
    read = {name: Page(page) for name, page in texts.items()}
    wrong = check_program(read["flowd.8"], "flowd", "flowd.8")
    wrong += check_program(read["flowctl.1"], "flowctl", "flowctl.1")
    wrong += check_options(read["flowd.json.5"], "flowd.json.5")
    wrong += check_metrics(read["flowd-metrics.7"], "flowd-metrics.7")
    wrong += check_operations(read["flowd-api.7"], "flowd-api.7")
    wrong += check_words(read["flowd-api.7"], "flowd-api.7")
    wrong += check_levels(read["flowd.8"], "flowd.8")
    wrong += check_environment(read["flowd.8"], ("daemon", "plugins", "backends", "enrichers"), "flowd.8")
    wrong += check_environment(read["flowctl.1"], ("flowctl",), "flowctl.1")
    for name, page in read.items():
        wrong += [f"{name}: refers to {other}({section}), which is not there"
                  for other, section in sorted(page.references())
                  if other.startswith("flow") and f"{other}.{section}" not in read]
    return wrong


def main():
    if not (BIN / "flowd").exists():
        print(f"man_pages.py: left out: {BIN} has no flowd (make build-dev)")
        return os.environ.get("FLOWD_TEST_STRICT") == "1"
    wrong = []
    for source in sources():
        page = PAGES / source.stem
        fresh = made(source)
        if sys.argv[1:] == ["--write"]:
            page.write_text(fresh)
        elif not page.exists() or page.read_text() != fresh:
            wrong.append(f"docs/man/{page.name}: is not what its source and the tables say: {__file__} --write")
    schema = ROOT / "docs" / "config.schema.json"
    printed = man_tables.output("flowd", "schema")
    if sys.argv[1:] == ["--write"]:
        schema.write_text(printed)
    elif schema.read_text() != printed:
        wrong.append(f"{schema}: is not what flowd schema prints: {__file__} --write")
    pages = [PAGES / source.stem for source in sources()]
    texts = {page.name: page.read_text() for page in pages}
    wrong += check(texts) + check_examples(texts["flowd.json.5"], "flowd.json.5") + check_by_tools(pages)
    print("".join(f"{line}\n" for line in wrong), end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
