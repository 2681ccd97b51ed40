# SPDX-License-Identifier: Apache-2.0
"""Completion for bash, as bash calls it; what the programs' help names is offered."""

import pathlib
import re
import subprocess

import pytest

from lab.api_client import event
from lab.flowd_process import FLOWCTL, FLOWD

COMPLETION = pathlib.Path(__file__).parents[2] / "packaging" / "completion"
# The line is $1; its last word is the one to complete. Words are cut at colons, as readline does.
SCRIPT = r"""
source "$2"
set -u
COMP_LINE=$1 COMP_POINT=${#1}
read -ra COMP_WORDS <<<"${1//:/ : }"
case $1 in *" ") COMP_WORDS+=("") ;; esac
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_TYPE=9 COMP_KEY=9
function=$(complete -p "$3" | sed -n 's/.*-F \([^ ]*\) .*/\1/p')
"$function" "$4" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


def offered(line, program=FLOWCTL, prefix=(), cwd=None):
    name = line.split()[0]
    done = subprocess.run([*prefix, "bash", "--norc", "-c", SCRIPT, "bash", line, COMPLETION / name,
                           name, program], capture_output=True, text=True, timeout=30, cwd=cwd)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout.split()


def help_of(program):
    """The commands and the long options that a program's help has, of its own."""
    text = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=30,
                          check=True).stdout
    text = "\n".join(line for line in text.splitlines() if "no effect" not in line)
    commands = re.search(r"^commands:\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)[1]
    return (set(re.findall(r"^  ([a-z][a-z-]*)", commands, re.MULTILINE)),
            set(re.findall(r"^  (?:-\w, )?(--[a-z][a-z-]*)", text, re.MULTILINE)))


@pytest.mark.parametrize("program", [FLOWCTL, FLOWD])
def test_every_command_and_option(program):
    name = pathlib.Path(program).name
    commands, options = help_of(program)
    assert len(commands) >= 7 and len(options) >= 5
    assert set(offered(f"{name} ", program)) == commands
    assert set(offered(f"{name} --", program)) == options | {"--help", "--version"}


@pytest.mark.parametrize("line,words", [
    ("flowctl st", {"start", "status"}), ("flowctl --json r", {"ready", "registry"}), ("flowctl reg", {"registry"}),
    ("flowctl --url http://[::1]:7777 sh", {"show"}), ("flowctl --url http://127.0.0.1:7777 ", None),
    ("flowctl top --sort r", {"rate", "rtt", "retransmissions"}), ("flowctl top --count ", set()),
    ("flowctl start ", {"tcp", "udp"}), ("flowctl start tcp ", set()), ("flowctl list ", set()),
    ("flowd --log-level ", {"error", "warning", "info", "debug"}), ("flowd help o", {"options"}),
    ("flowd --log-format j", {"json", "journal"}), ("flowd -c /dev/null c", {"check", "conf", "clean", "convert"}),
    ("flowd --interface l", {"lo"}), ("flowd -c run", set()),
])
def test_words(directory, line, words):
    assert set(offered(line, cwd=directory)) == (help_of(FLOWCTL)[0] if words is None else words)


def test_files(directory):
    (directory / "some.sock").touch()
    for line in ("flowctl --unix so", "flowctl list --token-file so", "flowd -c so", "flowd convert so"):
        assert offered(line, cwd=directory) == ["some.sock"], line


def test_ids(plain, single, directory):
    """Of live flows, by the options on the line; nothing, and in time, where there is no flowd."""
    prefix = ["nsenter", f"--net={single.path}"]
    daemon = plain(api={"socketPath": str(directory / "api.sock")})
    ids = {daemon.api.post(event("2001:db8::1", port, "2001:db8::2", 2)).json["id"]
           for port in range(1, 6)}
    one = min(ids)
    assert set(offered("flowctl show ", prefix=prefix)) == ids
    assert set(offered("flowctl end ", prefix=prefix)) == ids | {"tcp", "udp"}
    assert offered(f"flowctl show {one[:15]}", prefix=prefix) == \
        sorted(x for x in ids if x.startswith(one[:15]))
    assert set(offered(f"flowctl --unix {directory}/api.sock show ")) == ids
    assert set(offered("flowctl --url http://127.0.0.1:7777 show ", prefix=prefix)) == ids
    assert not offered(f"flowctl --unix {directory}/none show ")
    assert not offered(f"flowctl show {one} ", prefix=prefix)
