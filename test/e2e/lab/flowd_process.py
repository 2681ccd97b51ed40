# SPDX-License-Identifier: Apache-2.0
"""The daemon under test: its configuration, its process, its log, and what a sanitizer said."""

import glob
import json
import os
import pathlib
import re
import signal
import subprocess

from lab import isolation
from lab.waiting import DEADLINE_S, until

BIN_DIR = pathlib.Path(
    os.environ.get("FLOWD_BIN_DIR") or pathlib.Path(__file__).parents[3] / "build" / "bin"
).resolve()
FLOWD = BIN_DIR / "flowd"
FLOWCTL = BIN_DIR / "flowctl"

_SANITIZER_STATUS = 97


def sanitizer_environment(directory):
    """Findings end the program with a status of their own and are written into directory."""
    return {
        "ASAN_OPTIONS": f"detect_leaks=1:exitcode={_SANITIZER_STATUS}:"
        f"log_path={directory}/sanitizer:detect_stack_use_after_return=1:strict_string_checks=1",
        "LSAN_OPTIONS": f"exitcode={_SANITIZER_STATUS}:log_path={directory}/sanitizer",
        "UBSAN_OPTIONS": f"exitcode={_SANITIZER_STATUS}:print_stacktrace=1:halt_on_error=1:"
        f"log_path={directory}/sanitizer",
    }


def sanitizer_findings(directory):
    return "".join(
        pathlib.Path(name).read_text(errors="replace")
        for name in sorted(glob.glob(f"{directory}/sanitizer*"))
    )


def one_shot(directory, *arguments, program=FLOWD, prefix=(), environment=None, timeout=DEADLINE_S):
    """Runs a program to its end and returns it; a sanitizer finding is a failure."""
    isolation.require(prefix)
    done = subprocess.run(
        [*prefix, str(program), *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, cwd=directory,
        env={**os.environ, **sanitizer_environment(directory), **(environment or {})},
    )
    findings = sanitizer_findings(directory)
    assert not findings and done.returncode != _SANITIZER_STATUS, findings + done.stderr
    return done


class Flowd:
    """
    One daemon with a directory of its own. It may be started, stopped and killed several times; the
    log goes on in one file. Everything in `config` can be changed between two starts.
    """

    def __init__(self, directory, namespace, config, prefix=(), environment=None,
                 program=FLOWD, pass_fds=()):
        self.directory = pathlib.Path(directory)
        self.namespace = namespace
        self.config = config
        self.prefix = list(prefix)
        self.program = program
        self.pass_fds = list(pass_fds)
        self.environment = dict(environment or {})
        self.config_path = self.directory / "config.json"
        self.log_path = self.directory / "log"
        self.process = None
        self.exit_statuses = []

    # -- life ------------------------------------------------------------------------------------

    def write_config(self):
        self.config_path.write_text(json.dumps(self.config, indent=1))

    def start(self, ready=True, arguments=()):
        assert self.process is None, "it runs already"
        isolation.require(self.prefix)
        if self.config is not None:
            self.write_config()
        before = self.log_size()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.namespace.command([*self.prefix, self.program, "-c", self.config_path, *arguments]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                env={**os.environ, **sanitizer_environment(self.directory), **self.environment}, pass_fds=self.pass_fds,
            )
        if ready:
            self.wait_ready(before)
        return self

    def wait_ready(self, since=0):
        self.wait_log(r"\bready\b", since)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def send_signal(self, number):
        self.process.send_signal(number)

    def freeze(self):
        """SIGSTOP, and returns when the process stands still: until then it may go on with a system call."""
        self.send_signal(signal.SIGSTOP)
        until(lambda: self._state() == "T", "the stop")

    def thaw(self):
        self.send_signal(signal.SIGCONT)

    def _state(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0]

    def wait_exit(self, timeout=DEADLINE_S):
        """Waits for the end and returns the exit status; a sanitizer finding is a failure."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("the daemon does not end\n" + self.log()) from None
        self.process = None
        self.exit_statuses.append(status)
        self.check_sanitizer()
        assert status != _SANITIZER_STATUS, self.log()
        return status

    def stop(self, number=signal.SIGTERM):
        """Stops it as a user would and expects a clean end."""
        assert self.running(), "the daemon ended by itself\n" + self.log()
        self.send_signal(number)
        status = self.wait_exit()
        assert status == 0, f"exit status {status}\n{self.log()}"

    def kill(self):
        assert self.running(), "the daemon ended by itself\n" + self.log()
        self.send_signal(signal.SIGKILL)
        assert self.process.wait(DEADLINE_S) == -signal.SIGKILL
        self.process = None

    def reload(self, config=None, expect=r"(?i)reload"):
        """SIGHUP, and waits until the log says what became of it. Returns what was logged."""
        if config is not None:
            self.config = config
            self.write_config()
        before = self.log_size()
        self.send_signal(signal.SIGHUP)
        self.wait_log(expect, before)
        return self.log(before)

    def close(self):
        """For the end of a test: clean where it still runs."""
        if self.process is None:
            self.check_sanitizer()
            return
        if self.running():
            try:
                self.stop()
            finally:
                self.abandon()
        else:
            status = self.wait_exit()
            raise AssertionError(f"the daemon ended by itself with status {status}\n{self.log()}")

    def abandon(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def check_sanitizer(self):
        findings = sanitizer_findings(self.directory)
        assert not findings, findings

    # -- log -------------------------------------------------------------------------------------

    def log_size(self):
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def log(self, since=0):
        if not self.log_path.exists():
            return ""
        with open(self.log_path, "rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")

    def wait_log(self, pattern, since=0, timeout=DEADLINE_S):
        """Waits for a line that matches and returns the match."""
        expression = re.compile(pattern)

        def found():
            match = expression.search(self.log(since))
            if match is None and not self.running():
                raise AssertionError(
                    f"the daemon ended (status {self.process.poll()}) without saying {pattern!r}\n"
                    + self.log(since))
            return match

        return until(found, lambda: f"log line {pattern!r}; the log says:\n{self.log(since)}",
                     timeout)

    # -- inputs ----------------------------------------------------------------------------------

    @property
    def fifo_path(self):
        return self.config["plugins"]["namedPipe"]["pipePath"]

    def open_fifo(self):
        """A writer's file descriptor; the daemon must have the fifo open."""
        return os.open(self.fifo_path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def write_fifo(self, text):
        """Writes all of text (str or bytes) as one writer, blocking as a transfer tool would."""
        data = text.encode() if isinstance(text, str) else text
        writer = self.open_fifo()
        try:
            os.set_blocking(writer, True)
            while data:
                data = data[os.write(writer, data):]
        finally:
            os.close(writer)
