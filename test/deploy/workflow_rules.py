# SPDX-License-Identifier: Apache-2.0
"""
The rules of the house for workflows, which no run of them here would show. A rule is a generator of
what is wrong: with (name, text, tree) of a file, or with (job's name, job's tree) of each job.
"""

import re
import subprocess

import yaml

from workflow import ROOT, Job, combinations

RUNNERS = {"ubuntu-24.04", "ubuntu-24.04-arm"}
PINNED = re.compile(r"uses: ([\w.-]+(?:/[\w.-]+)+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)")
# What each action may be told.
INPUTS = {
    "actions/attest-build-provenance": {"subject-checksums"},
    "actions/cache": {"key", "path", "restore-keys"},
    "actions/checkout": {"fetch-depth", "persist-credentials"},
    "actions/download-artifact": {"path", "pattern"},
    "actions/upload-artifact": {"if-no-files-found", "name", "path"},
    "github/codeql-action/analyze": set(),
    "github/codeql-action/init": {"build-mode", "languages"},
}
# Which of a job's steps is a reason to write, by a word in it.
WRITES = {"attestations": "actions/attest-build-provenance", "contents": "gh release create",
          "id-token": "actions/attest-build-provenance", "security-events": "github/codeql-action/analyze"}
PACKAGES = re.compile(r"\b(?:apt-get|dnf)\b.* install\b.*\bgit\b")
# A command stands at the beginning of a line, or after one of these.
COMMAND = r"(?:^|&&|\|\||[;|(]|\bthen\b|\bdo\b|\belse\b)\s*(?:[A-Z_]+=\S*\s+)*"
# What steps make, and no checkout has.
MADE = {"build", "dist"}


def actions_are_pinned(name, text, tree):
    """By commit, with the version that it is; everywhere the same one."""
    seen = {}
    for number, line in enumerate(text.splitlines(), 1):
        if "uses:" not in line.partition("#")[0]:
            continue
        found = PINNED.search(line)
        if found is None:
            yield f"{name}:{number}: not a commit with its version behind"
        elif seen.setdefault("/".join(found[1].split("/")[:2]), found.groups()[1:]) != found.groups()[1:]:
            yield f"{name}:{number}: another commit than above"


def rights_are_few(name, text, tree):
    if tree.get("permissions") != {"contents": "read"}:
        yield f"{name}: top-level permissions are not contents: read alone"


def runs_end(title, job):
    if not isinstance(job.get("timeout-minutes"), int):
        yield f"{title}: no timeout-minutes"


def writes_have_a_reason(title, job):
    text = yaml.safe_dump(job["steps"], width=1000)
    rights = job.get("permissions", {})
    if not isinstance(rights, dict):
        yield f"{title}: permissions are not named"
        return
    for scope, right in rights.items():
        if right == "read" and scope == "contents":
            continue
        if right != "write" or WRITES.get(scope, "\0") not in text:
            yield f"{title}: no step needs {scope}: {right}"


def runners_exist(title, job):
    for matrix in combinations(job):
        runner = Job(job, matrix).text(job["runs-on"])
        if runner not in RUNNERS:
            yield f"{title}: no runner {runner}"


def actions_know_their_inputs(title, job):
    for step in job["steps"]:
        action = step.get("uses", "").partition("@")[0]
        for one in set(step.get("with", {})) - INPUTS.get(action, set()):
            yield f"{title}: {action} has no input {one}"
        if action == "actions/checkout" and step.get("with", {}).get("persist-credentials") is not False:
            yield f"{title}: a checkout without persist-credentials: false"


def checkouts_are_whole(title, job):
    """Without git a checkout has no history, and in a container it belongs to another user."""
    uses = [step.get("uses", "").partition("@")[0] for step in job["steps"]]
    if not job.get("container") or "actions/checkout" not in uses:
        return
    at = uses.index("actions/checkout")
    if not any(PACKAGES.search(line) for step in job["steps"][:at] for line in step.get("run", "").splitlines()):
        yield f"{title}: git is not installed before the checkout"
    if "safe.directory" not in job["steps"][at + 1].get("run", ""):
        yield f"{title}: no safe.directory after the checkout"


def expressions_are_not_code(title, job):
    for step in job["steps"]:
        if "${{" in step.get("run", ""):
            yield f"{title}: an expression in run:, which belongs into env:"


def _lines(job):
    for step in job["steps"]:
        for line in step.get("run", "").replace("\\\n", " ").splitlines():
            yield line.partition(" #")[0] if not line.lstrip().startswith("#") else ""


def targets_exist(title, job):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in _lines(job):
        for words in re.findall(COMMAND + r"make\s+([^;&|>]*)", line):
            for word in words.split():
                if "=" not in word and word not in targets:
                    yield f"{title}: no target {word}"


def lists_exist(title, job):
    """For the systems of its images."""
    place = ROOT / "packaging" / "dependencies"
    known = re.findall(r"= ([\w-]+) \]", (place / "install").read_text())
    images = {Job(job, matrix).image() or "ubuntu" for matrix in combinations(job)}
    for line in _lines(job):
        for word in re.findall(r"packaging/dependencies/install(?:\s+([\w-]+))?", line):
            if word not in ("", "build", *known):
                yield f"{title}: no list {word}"
            for image in sorted(images):
                kind = "debian" if image.startswith(("debian", "ubuntu")) else "el9"
                if word not in ("", "build") and not (place / f"{kind}-{word}.txt").exists():
                    yield f"{title}: no list {word} for {image}"


def paths_exist(title, job):
    tree = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                          capture_output=True, text=True).stdout.splitlines()
    for line in _lines(job):
        for word in re.findall(r"(?<![\w/.$})-])\.?\w[\w.-]*(?:/[\w.*-]+)+", line):
            if word.split("/")[0] not in MADE and word not in tree and \
                    not any(path.startswith(f"{word.rstrip('/')}/") for path in tree):
                yield f"{title}: no {word} in the tree"


def artifacts_have_names_of_their_own(name, text, tree):
    names = {}
    for title, job in tree["jobs"].items():
        names[title] = [Job(job, matrix).text(step["with"]["name"]) for matrix in combinations(job)
                        for step in job["steps"] if step.get("uses", "").startswith("actions/upload-artifact@")]
    every = [one for found in names.values() for one in found]
    for one in sorted({one for one in every if every.count(one) > 1}):
        yield f"{name}: more than one artifact {one}"
    for title, job in tree["jobs"].items():
        for step in job["steps"]:
            if not step.get("uses", "").startswith("actions/download-artifact@"):
                continue
            start = step["with"]["pattern"].rstrip("*")
            for needed in job.get("needs", []):
                if not any(one.startswith(start) for one in names[needed]):
                    yield f"{name}: {title} takes nothing from {needed}"


OF_FILES = (actions_are_pinned, rights_are_few, artifacts_have_names_of_their_own)
OF_JOBS = (runs_end, writes_have_a_reason, runners_exist, actions_know_their_inputs, checkouts_are_whole,
           expressions_are_not_code, targets_exist, lists_exist, paths_exist)


def problems(texts):
    """What is wrong with workflows, {name: text}."""
    found = []
    for name, text in texts.items():
        tree = yaml.safe_load(text)
        for rule in OF_FILES:
            found += rule(name, text, tree)
        for title, job in tree["jobs"].items():
            for rule in OF_JOBS:
                found += rule(f"{name}: {title}", job)
    return found
