# SPDX-License-Identifier: Apache-2.0
"""
The commands of flowd and flowctl that the manual's pages tell readers to type are those that there are.
"""

import pathlib
import re

from lab.flowd_process import FLOWCTL, FLOWD, one_shot

PAGES = pathlib.Path(__file__).parents[2] / "docs"
# A command in code, behind the options that may stand before it: `flowd -c FILE check`.
_COMMAND = re.compile(r"(?:^|[&|] |bin/)(flowd|flowctl) ((?:-[-\w]+ (?:[A-Z./][\w./-]* )?)*)(?!-)([a-z][\w-]*)")
# What this page has in code is what flowd says.
MESSAGES = "log-messages.md"
_CODE = re.compile(r"`([^`\n]+)`|^    (.*)$", re.MULTILINE)


def commands_of(directory, program):
    text = one_shot(directory, "--help", program=program).stdout.partition("commands:\n")[2].partition("\noptions:")[0]
    return {words[0] for words in (line.split() for line in text.splitlines() if re.match(r"  \S", line))}


def test_commands_that_are_there(directory):
    known = {"flowd": commands_of(directory, FLOWD), "flowctl": commands_of(directory, FLOWCTL)}
    assert "check" in known["flowd"] and "status" in known["flowctl"]
    named = set()
    for page in sorted(page for page in PAGES.glob("*.md") if page.name != MESSAGES):
        for code in _CODE.findall(page.read_text()):
            for program, _, command in _COMMAND.findall("".join(code)):
                named.add((program, command, page.name))
                assert command in known[program], f"{page.name}: {program} {command}"
    assert ("flowctl", "status", "troubleshooting.md") in named
