#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
docs/moving.md against the sources: it names every spelling and every key that flowd takes from other
programs' configurations and has another name for, or none. Prints what is missing, and fails.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "moving.md"

_ALIAS = re.compile(r'\.alias = "(\w+)"')
_NO_EFFECT = re.compile(r'\{\.key = "(\w+)",\s*\.type = FLOWD_OPTION_(?:IGNORED|EMPTY)\b')
_CHOICES = re.compile(r"struct flowd_choice_alias \w+\[\] = \{(.*?)\n\};", re.DOTALL)


def main():
    known = set()
    for folder in ("daemon", "plugins", "backends", "enrichers"):
        for path in sorted((ROOT / folder).rglob("*.c")):
            text = path.read_text(encoding="utf-8")
            known.update(_ALIAS.findall(text), _NO_EFFECT.findall(text))
            for choices in _CHOICES.findall(text):
                for text_of, macro in re.findall(r'\{(?:"(\w+)"|([A-Z_]{5,})),', choices):
                    known.add(text_of or re.search(rf'#define {macro} "(\w+)"', text)[1])
    if not known:
        raise SystemExit(f"{__file__}: finds no key in the sources")
    manual = MANUAL.read_text(encoding="utf-8")
    missing = sorted(word for word in known if not re.search(rf"`[^`\n]*\b{word}\b[^`\n]*`", manual))
    print("".join(f"docs/moving.md: does not name {word}\n" for word in missing), end="")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
