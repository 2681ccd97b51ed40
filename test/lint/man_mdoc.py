#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Text as mdoc(7) has it, and what a page says in its lists.
"""

import re


def text(words):
    """A text line: nothing in it is a request; options keep their hyphens; sentences begin lines."""
    words = words.replace("\\", "\\e").replace("'", "\\(aq").replace("^", "\\(ha")
    words = re.sub(r"(?<![\w.-])--?(?=[\w(:])", lambda match: "\\-" * len(match[0]), words)
    lines = re.sub(r"(?<=[a-z0-9\")])([.;:]) +(?=[A-Z\"\\])", r"\1\n", words).splitlines()
    return "\n".join(f"\\&{line}" if line[:1] in ".'" else line for line in lines)


def argument(words, breaks=""):
    """One argument of a macro, which may be broken behind each of the characters in breaks."""
    words = words.replace("\\", "\\e").replace('"', "\\(dq").replace("'", "\\(aq")
    words = words.replace("-", "\\-")
    for character in breaks:
        words = words.replace(character, f"{character}\\:")
    if re.fullmatch(r"[A-Z][a-z]|[.,:;()\[\]?!|]", words):
        words = f"\\&{words}"
    return f'"{words}"' if " " in words or not words else words


def literal(block):
    """Lines to be shown as they are."""
    lines = block.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha")
    lines = lines.replace("`", "\\(ga").replace("~", "\\(ti")
    return "\n".join(f"\\&{line}" if line[:1] in ".'" else line for line in lines.rstrip("\n").split("\n"))


def plain(words):
    """What argument() and literal() were given."""
    for escape, meant in (("\\(dq", '"'), ("\\(aq", "'"), ("\\-", "-"), ("\\&", ""), ("\\:", ""), ("\\(ha", "^"),
                          ("\\(ga", "`"), ("\\(ti", "~"), ("\\e", "\\")):
        words = words.replace(escape, meant)
    return words


def arguments(line):
    """The arguments of a macro line, as they read."""
    return [plain(quoted or bare) for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', line)]


class Page:
    """What a page's source says: by section (and subsection) its tags, and its macros of one kind."""

    def __init__(self, source):
        self.tags, self.body, self.pairs, self.below = {}, {}, {}, {}
        section = sub = ""
        tag = lines = None
        for line in source.splitlines():
            macro, _, rest = line[1:].partition(" ") if line.startswith(".") else ("", "", line)
            self.body.setdefault(section, []).append(line)
            if tag:
                self.pairs.setdefault((section, sub), []).append((tag[1:], arguments(line)))
                tag = None
            if macro in ("Sh", "Ss"):
                lines = None
                sub = "" if macro == "Sh" else " ".join(arguments(rest))
                section = " ".join(arguments(rest)) if macro == "Sh" else section
                continue
            # A list in a list belongs to the entry that it stands in.
            if macro == "It":
                tag = arguments(rest)
                self.tags.setdefault((section, sub), []).append(tag)
                if tag[0] == "Cm":
                    lines = self.below.setdefault((sub or section, "Cm", " ".join(tag[1:])), [])
                    continue
            if lines is not None:
                lines.append(plain(line))

    def tags_of(self, section, macro, sub=None):
        """The arguments of each tag of that macro in the section, macros taken away."""
        return [tag[1:] for (its, below), tags in self.tags.items()
                if its == section and sub in (None, below) for tag in tags if tag and tag[0] == macro]

    def pairs_of(self, section, sub):
        """Each tag, and the line below it."""
        return self.pairs.get((section, sub), [])

    def text_of(self, section):
        return plain("\n".join(self.body.get(section, [])))

    def text_of_all(self):
        return "\n".join(self.text_of(section) for section in self.body)

    def sections(self):
        return list(self.body)

    def item_text(self, macro, name, place):
        """What stands below a tag in the section or subsection of that title; empty: it is not there."""
        return "\n".join(self.below.get((place, macro, name), []))

    def literals(self):
        """The blocks that are shown as they are."""
        joined = "\n".join(line for lines in self.body.values() for line in lines)
        return [plain(block) for block in re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", joined, re.MULTILINE | re.DOTALL)]

    def references(self):
        return {tuple(words[1:3]) for lines in self.body.values() for line in lines
                for words in [arguments(line)] if len(words) > 2 and words[0] == ".Xr"}
