#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The pages of the manual: every relative link of a Markdown file leads to a file that is there, and to
a heading of it where it names one; docs/README.md names every page of docs/; a source that is named in
docs/ is there. A block that says which file it is from, by a comment above it, stands there word for word:

    <!-- from docs/examples/tally/tally.c -->

    manual_links.py [INSTALLED]     (the root directory of an installation: the links of its pages instead)

Prints what is wrong, and fails if there is anything.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
INDEX = ROOT / "docs" / "README.md"

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`+[^`\n]*`+|^(?: {4}|\t).*$", re.MULTILINE)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?\)")
_QUOTED = re.compile(r"^<!-- from (\S+) -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SOURCE = re.compile(r"<!-- from ")
_FILE = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:bpf\.)?[ch]|(?:[\w.-]+/)*[\w-]+\.(?:py|cmake))`")
# Of the C library's neighbours, and what there must not be.
_NO_SOURCES = {"ev.h", "utils.c", "vmlinux.h"}


def listed():
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                           cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in names.splitlines() if (ROOT / name).is_file()]


def anchors(text):
    """The names by which headings are reached, as code hosts make them."""
    found, times = set(), {}
    for title in re.findall(r"^#{1,6} +(.*?) *#*$", _FENCED.sub("", text), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found.add(name if name not in times else f"{name}-{times[name]}")
        times[name] = times.get(name, 0) + 1
    return found | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def links(page, texts, root):
    """What is wrong with the links of a page below root."""
    for target in _LINK.findall(_CODE.sub("", _FENCED.sub("", texts[page]))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        place, _, anchor = target.partition("#")
        if place.startswith("/"):
            there = root / place.lstrip("/")
        else:
            there = (page.parent / place).resolve() if place else page
        if not there.exists():
            yield f"leads to {target}, which is not there"
        elif anchor and anchor not in anchors(texts.get(there) or there.read_text(encoding="utf-8")):
            yield f"leads to {target}, and no heading is called so"


def quotes(text):
    """What is wrong with the blocks of a page that are from a file."""
    read = _QUOTED.findall(text)
    if len(read) != len(_SOURCE.findall(text)):
        yield "has a line <!-- from FILE --> without a block of code below it"
    for name, block in read:
        source = ROOT / name
        if not source.is_file():
            yield f"has a block from {name}, which is not there"
        elif block not in source.read_text(encoding="utf-8"):
            yield f"has a block from {name} that does not stand there: {block.splitlines()[0]} ..."


def named(text, files):
    """Sources that a page of the manual names, by their path or the end of it, and that are not there."""
    for name in sorted(set(_FILE.findall(text)) - _NO_SOURCES):
        if not any(file == name or file.endswith(f"/{name}") for file in files):
            yield f"names {name}, which is not there"


def installed(root):
    """What is wrong with the pages of an installation."""
    texts = {page: page.read_text(encoding="utf-8") for page in root.rglob("*.md")}
    if not texts:
        yield root, "has no page"
    yield from ((page, what) for page in texts for what in links(page, texts, root))


def tree():
    """What is wrong with the manual."""
    files = [str(path.relative_to(ROOT)) for path in listed()]
    texts = {page: page.read_text(encoding="utf-8") for page in listed() if page.suffix == ".md"}
    wrong = [(page, what) for page in texts for what in links(page, texts, ROOT)]
    wrong += [(page, what) for page, text in texts.items() for what in quotes(text)]
    wrong += [(page, what) for page, text in texts.items() if page.parent == INDEX.parent
              for what in named(text, files)]
    index = texts.get(INDEX, "")
    wrong += [(INDEX, f"does not name {page.name}: add a line for it") for page in texts
              if page.parent == INDEX.parent and page != INDEX and f"({page.name}" not in index]
    return wrong


def main():
    root = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT
    wrong = sorted(installed(root)) if len(sys.argv) > 1 else tree()
    print("".join(f"{page.relative_to(root)}: {what}\n" for page, what in wrong), end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
