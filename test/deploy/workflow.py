# SPDX-License-Identifier: Apache-2.0
"""The workflows of .github/workflows: their texts, and a job with one combination of its matrix."""

import itertools
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
EXPRESSION = re.compile(r"\$\{\{\s*([\w.]+)\s*\}\}")


def texts():
    return {path.name: path.read_text() for path in sorted(WORKFLOWS.glob("*.yml"))}


def combinations(job):
    """All of a job's matrix, as GitHub makes them: what `include` adds to one, or adds as one more."""
    matrix = job.get("strategy", {}).get("matrix", {})
    axes = {name: values for name, values in matrix.items() if name not in ("include", "exclude")}
    found = [dict(zip(axes, values)) for values in itertools.product(*axes.values())] if axes else []
    excluded = matrix.get("exclude", [])
    found = [one for one in found if not any(skip.items() <= one.items() for skip in excluded)]
    for extra in matrix.get("include", []):
        same = [one for one in found if axes and all(one.get(key) == extra[key] for key in axes if key in extra)]
        for one in same:
            one.update(extra)
        if not same:
            found.append(dict(extra))
    return found or [{}]


class Job:
    """A job, in one combination of its matrix."""

    def __init__(self, tree, matrix, github=None):
        self.tree, self.matrix = tree, matrix
        self._contexts = {"matrix": matrix, "github": github or {}}
        container = tree.get("container")
        self.container = {"image": container} if isinstance(container, str) else container
        self.steps = tree["steps"]

    def text(self, value):
        """The value with its expressions replaced; what is not known stays."""
        def look_up(found):
            context, _, name = found[1].partition(".")
            return str(self._contexts.get(context, {}).get(name, found[0]))
        return EXPRESSION.sub(look_up, str(value))

    def image(self):
        return self.text(self.container["image"]) if self.container else None

    def is_privileged(self):
        return not self.container or "--privileged" in self.container.get("options", "").split()

    def shell(self, step):
        """The command that GitHub gives the file with a step's lines."""
        named = {"sh": "sh -e", "bash": "bash --noprofile --norc -eo pipefail"}
        return named[step["shell"]] if "shell" in step else "sh -e" if self.container else "bash -e"
