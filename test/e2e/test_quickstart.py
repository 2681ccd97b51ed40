# SPDX-License-Identifier: Apache-2.0
"""What `make run` starts, and the two lines that it prints to paste."""

import json
import os
import pathlib
import shutil
import subprocess

from lab.flowd_process import FLOWCTL, FLOWD
from lab.waiting import until

ROOT = pathlib.Path(__file__).parents[2]


def lines_to_paste(text):
    return [line.strip() for line in text.splitlines()
            if line.startswith("  build/bin/") or line.startswith("  packaging/")]


def copy_tree(directory):
    """
    What the script needs of a source tree, laid out as there: it and its configuration name
    everything from the root. A copy, because the tree may be out of reach for other users.
    """
    (directory / "build" / "bin").mkdir(parents=True)
    for program in (FLOWD, FLOWCTL):
        shutil.copy2(program, directory / "build" / "bin")
    shutil.copytree(ROOT / "packaging", directory / "packaging")


def test_quickstart(single, directory):
    """The lines, typed as they are printed, start a flow and show its packet marked."""
    copy_tree(directory)
    log = directory / "log"
    with open(log, "wb") as output:
        process = single.popen(["packaging/examples/quickstart"], cwd=directory, stdout=output,
                               stderr=output)
    try:
        until(lambda: " ready" in log.read_text(), log.read_text)
        lines = lines_to_paste(log.read_text())
        assert len(lines) == 2, log.read_text()
        shown = [single.run("sh", "-c", line, cwd=directory).stdout for line in lines]
        assert shown[0].startswith("started ") and "marker marked" in shown[0]
        assert "experiment 2, activity 17" in shown[1]
        (directory / "build" / "run" / "fifo").open("w").write("end udp ::1 40000 ::1 50000 2 17\n")
        until(lambda: "flow: end udp" in log.read_text(), log.read_text)
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()


def test_quickstart_without_root(single, directory):
    """It says what is missing and runs without the marker."""
    copy_tree(directory)
    for path in (directory, directory / "build"):
        os.chown(path, 65534, 65534)
    log = directory / "log"
    with open(log, "wb") as output:
        process = single.popen(
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
             "packaging/examples/quickstart"], cwd=directory, stdout=output,
            stderr=subprocess.STDOUT)
    try:
        until(lambda: "ready, but" in log.read_text(), log.read_text)
        assert "not root" in log.read_text() and "CAP_BPF" in log.read_text()
        single.run("sh", "-c", lines_to_paste(log.read_text())[0], cwd=directory)
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()


def test_configuration_of_the_readme(directory):
    """It holds no mistake, and has what the lines that follow it there need."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = text[text.index("\n    {\n"):].partition("\n\n")[0]
    (directory / "config.json").write_text(example)
    subprocess.run([FLOWD, "-c", directory / "config.json", "check"], check=True)
    configuration = json.loads(example)
    assert {"namedPipe", "api"} <= set(configuration["plugins"])
    assert configuration["enrichers"], "flowctl top has no rates to show"
