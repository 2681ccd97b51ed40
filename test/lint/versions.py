#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The version that CMakeLists.txt gives the project is the one of packages, images, manifests and chart.
Prints what is wrong and fails; --write puts it where it stands as a number alone (change logs want words).
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[2]
_NUMBER = r"(\d+(?:\.\d+)+)"
SOURCE = ("CMakeLists.txt", rf"^project\(flowd VERSION {_NUMBER} ")
NUMBERS = (
    ("packaging/container/Dockerfile", rf"^ARG VERSION={_NUMBER}$"),
    ("packaging/container/compose.yaml", rf"flowd:{_NUMBER}\b"),
    ("packaging/helm/flowd/Chart.yaml", rf"^version: {_NUMBER}$"),
    ("packaging/helm/flowd/Chart.yaml", rf"^appVersion: {_NUMBER}$"),
    ("packaging/kubernetes/daemonset/daemonset.yaml", rf"image: flowd:{_NUMBER}$"),
    ("packaging/kubernetes/sidecar/deployment.yaml", rf"image: flowd:{_NUMBER}$"),
    ("packaging/rpm/flowd.spec", rf"^Version: +{_NUMBER}$"),
    ("packaging/selinux/flowd.te", rf"^policy_module\(flowd, {_NUMBER}\)"),
)
# The newest entry of each.
LOGS = (
    ("NEWS.md", rf"\A(?:(?!^## ).*\n)*## {_NUMBER}\b"),
    ("packaging/debian/changelog", rf"\Aflowd \({_NUMBER}\)"),
    ("packaging/rpm/flowd.spec", rf"^%changelog\n\*.* - {_NUMBER}-\d+$"),
)


def found(name, pattern):
    return list(re.finditer(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))


def write(name, pattern, version):
    text = (ROOT / name).read_text(encoding="utf-8")
    for one in reversed(found(name, pattern)):
        text = text[:one.start(1)] + version + text[one.end(1):]
    (ROOT / name).write_text(text, encoding="utf-8")


def main():
    (source,) = found(*SOURCE)
    version = source[1]
    if "--write" in sys.argv[1:]:
        for name, pattern in NUMBERS:
            write(name, pattern, version)
    problems = []
    for name, pattern in NUMBERS + LOGS:
        given = {one[1] for one in found(name, pattern)}
        if given != {version}:
            problems.append(f"{name}: version {', '.join(sorted(given)) or 'is missing'}, of the project {version}")
    print("".join(f"{one}\n" for one in problems), end="")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
