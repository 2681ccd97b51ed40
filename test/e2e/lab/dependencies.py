# SPDX-License-Identifier: Apache-2.0
"""
Which loads of a program in the kernel depend on which: on processors that do loads in another order
than the program's, one whose address is computed from what another one read comes after it, and no
other does. Reads what `bpftool prog dump xlated` prints, which is what the verifier made of it.
"""

import re

_LINE = re.compile(r"^\s*(\d+): \((\w\w)\) (.*)$")
_LOAD = re.compile(r"[rw](\d+) = \*\(u(\d+) \*\)\(r(\d+) ([+-]\d+)\)$")
_STORE = re.compile(r"\*\(u\d+ \*\)\(r10 ([+-]\d+)\) = [rw](\d+)$")
_FROM = re.compile(r"[rw](\d+) = (?:\(\w+\) ?)?[rw](\d+)$")
_WITH = re.compile(r"[rw](\d+) \S+= [rw](\d+)$")
_OTHER = re.compile(r"[rw](\d+) = ")
_JUMP = re.compile(r"goto pc([+-]\d+)$")


class Program:
    """A program's instructions by their number."""

    def __init__(self, dump):
        self.lines = {int(match[1]): match[3] for match in map(_LINE.match, dump.splitlines()) if match}
        order = sorted(self.lines)
        self._next = dict(zip(order, order[1:]))

    def loads(self, bits, offset):
        """The numbers of the loads of this size at this offset from any register but the stack's."""
        return [number for number, text in self.lines.items() for match in [_LOAD.match(text)]
                if match and int(match[2]) == bits and match[3] != "10" and int(match[4]) == offset]

    def loads_at_sum(self):
        """Those of 64 bits from the begin of a map's value to which a register was added."""
        found = []
        for number in self.loads(64, 0):
            base = _LOAD.match(self.lines[number])[3]
            before = [text for at, text in self.lines.items() if number - 6 <= at < number]
            if any(re.match(rf"r{base} = map\[", text) for text in before) and any(
                    re.match(rf"r{base} \+= r\d+$", text) for text in before):
                found.append(number)
        return found

    def _following(self, number):
        text = self.lines[number]
        jump = _JUMP.search(text)
        if text == "exit":
            return []
        after = [] if text.startswith("goto") else [self._next.get(number)]
        return [one for one in after + ([number + 1 + int(jump[1])] if jump else []) if one is not None]

    def independent(self, first, second):
        """Those of the loads `second` that may be next after the load `first` and don't depend on it."""
        start = self._next[first]
        known = {start: frozenset({_LOAD.match(self.lines[first])[1]})}
        waiting, wrong = [start], set()
        while waiting:
            number = waiting.pop()
            if number in second:
                continue
            after = _after(self.lines[number], known[number])
            for one in self._following(number):
                merged = known[one] & after if one in known else after
                if known.get(one) != merged:
                    known[one] = merged
                    waiting.append(one)
        for number in second:
            if number in known and _LOAD.match(self.lines[number])[3] not in known[number]:
                wrong.add(number)
        return wrong


def _after(text, tainted):
    """What depends on the load (registers by number, places on the stack by offset) after an instruction."""
    def given(name, depends):
        return tainted | {name} if depends else tainted - {name}

    if match := _LOAD.match(text):
        return given(match[1], (match[4] if match[3] == "10" else match[3]) in tainted)
    if match := _STORE.match(text):
        return given(match[1], match[2] in tainted)
    if match := _FROM.match(text):
        return given(match[1], match[2] in tainted)
    if match := _WITH.match(text):
        return given(match[1], match[1] in tainted or match[2] in tainted)
    if text.startswith("call "):
        return tainted - {str(number) for number in range(6)}
    if match := _OTHER.match(text):
        return given(match[1], False)
    return tainted
