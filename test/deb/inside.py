#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
A package's life on one system, as root: installed, used, upgraded under traffic, removed, purged.

    inside.py FORMER.deb THIS.deb

What the packages depend on is there already. Where systemd is init it does all that an administrator
leaves to it; elsewhere (a bare root) this starts and stops flowd itself, as the user and with the rights that
flowd.service gives it. A line "ok NAME" for each step.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "test/vm"))
import systemd_lab as lab  # pylint: disable=wrong-import-position

BOOTED = pathlib.Path("/run/systemd/system").is_dir()
CONFIG = pathlib.Path("/etc/flowd/config.json")
# What changes on any system, and what dpkg keeps for itself.
_ELSEWHERE = {"/proc", "/sys", "/dev", "/run", "/tmp", "/share", "/tree", "/root", "/var/log", "/var/cache", "/var/tmp",
              "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd/timers", "/etc/.pwd.lock", "/etc/ld.so.cache"}
_FLOW = 40001
_RIGHTS = "-all,+bpf,+perfmon,+net_admin"
AS_SERVICE = ("setpriv", "--reuid=flowd", "--regid=flowd", "--clear-groups", f"--inh-caps={_RIGHTS}",
              f"--ambient-caps={_RIGHTS}", f"--bounding-set={_RIGHTS}", "--no-new-privs", "flowd", "--log-level", "warning")


class Service:
    """flowd.service, or a process where there is no systemd."""

    def __init__(self):
        self.process = None

    def pid(self):
        return lab.pid() if BOOTED else self.process.pid

    def start(self):
        """After an installation."""
        if not BOOTED:
            # What flowd.socket, flowd-places.service and flowd.service make.
            lab.run("install", "-d", "-o", "flowd", "-g", "flowd", "-m", "700", "/sys/fs/bpf/flowd")
            lab.run("install", "-o", "flowd", "-g", "flowd", "-m", "600", "/dev/null", "/run/flowd.lock")
            if not lab.FIFO.exists():
                lab.run("mkfifo", "--mode=666", str(lab.FIFO))
            lab.run("install", "-d", "-o", "flowd", "-g", "flowd", "-m", "750", "/var/lib/flowd")
            self.process = subprocess.Popen(AS_SERVICE)
        self.answers()

    def restart(self):
        if BOOTED:
            lab.systemctl("restart", "flowd")
        else:
            self.stop()
            self.start()
        self.answers()

    def upgraded(self):
        """systemd was told by the package."""
        if not BOOTED:
            self.restart()
        self.answers()

    def stop(self):
        if not BOOTED:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(lab.DEADLINE_S) == 0, self.process.returncode

    def answers(self):
        def asked():
            try:
                return lab.api("/healthz")
            except OSError:
                return False

        lab.until(asked, lambda: f"flowd's API\n{lab.journal() if BOOTED else ''}")


def dpkg(*arguments, allowed=None):
    """Runs dpkg, of whose lines those with what is allowed may speak of an error."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["dpkg", "--force-confold", *arguments], capture_output=True, text=True, check=False,
                          env=environment)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    looked_at = "\n".join(line for line in said.splitlines() if not (allowed and allowed in line))
    for word in ("warning:", "rror:", "could not", "cannot"):
        assert word not in looked_at, said
    return said


def version():
    return lab.run("dpkg-query", "-W", "-f", "${Version}", "flowd").strip()


def files():
    found = set()
    for directory, names, plain in os.walk("/"):
        names[:] = [name for name in names
                    if os.path.join(directory, name) not in _ELSEWHERE and name != "__pycache__"]
        found.update(os.path.join(directory, name) for name in names + plain)
    for place in ("/run", "/var/log"):
        found.update(str(path) for path in pathlib.Path(place).glob("flowd*"))
    # The backups of /etc/passwd and its like.
    return {path for path in found if not path.startswith("/etc/") or not path.endswith("-")} - _ELSEWHERE


def snapshot():
    """All that an installation could leave behind, as lines."""
    lines = {f"file {path}" for path in files()}
    for name in ("passwd", "group", "shadow", "gshadow"):
        path = pathlib.Path("/etc") / name
        if path.exists():
            lines.update(f"{name} {line}" for line in path.read_text(encoding="utf-8").splitlines())
    lines.update(f"pin {path}" for path in pathlib.Path("/sys/fs/bpf").rglob("*"))
    for command in ("ip -o link show", "tc qdisc show", "tc filter show dev veth0 egress", "tc filter show dev lo egress",
                    "tc -n peer qdisc show", "tc -n peer filter show dev veth1 egress"):
        # The state of a link may differ, not which there are.
        lines.update(f"{command}: {line.partition('<')[0]}" for line in lab.run(*command.split(), status=None).splitlines())
    return lines


def named_documents_are_there():
    """The files that units name as their documentation."""
    named = {path for unit in pathlib.Path("/lib/systemd/system").glob("flowd*")
             for path in re.findall(r"\bfile:(/\S+)", unit.read_text(encoding="utf-8"))}
    assert named and not [path for path in named if not pathlib.Path(path).exists()], named


def installed(service, former):
    """flowd runs, with the package's own configuration."""
    dpkg("-i", former)
    if BOOTED:
        assert lab.shown("ActiveState") == "active", lab.systemctl("status", "flowd", status=None)
        assert lab.systemctl("is-enabled", "flowd.service", "flowd.socket").split() == ["enabled"] * 2
    else:
        service.start()
        service.stop()


def writers_are_heard_and_flows_marked(*_):
    """As the package's own test says."""
    os.environ["FLOWD_AS"] = " ".join(AS_SERVICE)
    print(lab.run(str(TREE / "packaging/debian/tests/marks")), end="", flush=True)


def configured(service, *_):
    config = json.loads(CONFIG.read_text(encoding="utf-8"))
    config.setdefault("backends", {})["marker"] = {"targetInterfaces": ["veth0"], "onExit": "keep"}
    CONFIG.write_text(json.dumps(config), encoding="utf-8")
    if not BOOTED:
        service.start()
    service.restart()
    lab.announce(_FLOW)
    lab.until(lambda: lab.live() >= 1, "the flow")


def upgraded_under_traffic(service, this):
    """No packet unmarked, the flow is known, and the administrator's configuration is the one in use."""
    kept, before, old, flows = CONFIG.read_bytes(), service.pid(), version(), lab.live()
    with lab.Traffic(_FLOW) as traffic:
        traffic.more()
        dpkg("-i", this)
        service.upgraded()
        traffic.more()
    assert version() != old and service.pid() not in (0, before)
    named_documents_are_there()
    assert CONFIG.read_bytes() == kept and lab.live() == flows
    print(f"  {old} -> {version()}", flush=True)


def upgraded_with_mistakes(_, this):
    """Under systemd: the package is installed all the same, and says what is wrong; marks stay."""
    kept = CONFIG.read_bytes()
    with lab.Traffic(_FLOW) as traffic:
        traffic.more()
        CONFIG.write_text('{"plugins": {"api": {"bindPort": "seven"}}}', encoding="ascii")
        done = subprocess.run(["dpkg", "-i", this], capture_output=True, text=True, check=False)
        traffic.more()
        assert done.returncode == 0, done
        for words in ("did not start because of mistakes", "plugins.api.bindPort", "flowd -c /etc/flowd/config.json check"):
            assert words in done.stdout, done
        assert lab.run("dpkg-query", "-W", "-f", "${Status}", "flowd") == "install ok installed"
        CONFIG.write_bytes(kept)
        lab.systemctl("start", "flowd")
        lab.until(lambda: lab.live() >= 1, "the flow")


def instance_in_peer():
    """
    Leaves what an instance in the other namespace leaves that was not cleaned, and a configuration with a mistake in
    which its pinPath can be read.
    """
    config = pathlib.Path("/etc/flowd/peer.json")
    text = json.dumps({"stateDir": "/var/lib/flowd@peer", "plugins": {"api": {"bindAddress": "127.0.0.1"}},
                       "backends": {"marker": {"targetInterfaces": ["veth1"], "attach": "tc", "onExit": "keep",
                                               "pinPath": "/sys/fs/bpf/elsewhere"}}})
    config.write_text(text, encoding="ascii")
    with subprocess.Popen(["nsenter", "--net=/run/netns/peer", "flowd", "--log-level", "warning", "-c", config]) as process:
        lab.until(lambda: "flowd" in lab.run("tc", "-n", "peer", "filter", "show", "dev", "veth1", "egress"), "its filter")
        process.send_signal(signal.SIGTERM)
    config.write_text(text[:-1], encoding="ascii")
    if BOOTED:
        lab.systemctl("enable", "flowd@peer.service", "flowd@peer.socket", "flowd-api.socket")


def removed(service, before):
    """
    What flowd keeps on disk stays, and nothing else, in spite of a spoilt configuration: flowd.service has failed
    at it, and systemd forgets that.
    """
    instance_in_peer()
    assert {"pin /sys/fs/bpf/flowd/flows", "pin /sys/fs/bpf/elsewhere/flows"} <= snapshot() - before
    service.stop()
    CONFIG.write_text("{", encoding="ascii")
    if BOOTED:
        lab.systemctl("restart", "flowd", status=1)
        lab.until(lambda: lab.shown("ActiveState") == "failed", "the failure")
    dpkg("-r", "flowd")
    left = [line for line in snapshot() - before if line.startswith(("pin ", "tc ", "ip "))]
    assert not left, left
    assert not lab.FIFO.exists() and CONFIG.exists()
    # It was made by hand, so it is the administrator's.
    pathlib.Path("/etc/flowd/peer.json").unlink()
    assert not lab.run("sh", "-c", "ps ax -o comm= | grep -x flowd || true").strip()
    if BOOTED:
        known = lab.systemctl("list-units", "--plain", "--no-legend", "flowd*")
        assert not known.strip(), known


def life(former, this):
    """The steps, one after the other; the last is the comparison with the beginning."""
    service = Service()
    lab.make_link()
    before = snapshot()
    for step, argument in ((installed, former), (writers_are_heard_and_flows_marked, None), (configured, None),
                           (upgraded_under_traffic, this), *([(upgraded_with_mistakes, this)] if BOOTED else []),
                           (removed, before)):
        began = time.monotonic()
        step(service, argument)
        print(f"ok {step.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
    dpkg("-P", "flowd")
    after = snapshot()
    assert after == before, f"left: {sorted(after - before)}; gone: {sorted(before - after)}"
    print(f"ok purged: files, users, pins, links and filters are as before ({len(before)})", flush=True)
    if BOOTED:
        masked(former, this)
        print("ok masked", flush=True)


def masked(former, this):
    """As docs/packages.md says: nothing starts, and the package comes, is upgraded, removed and purged."""
    units = ("flowd.service", "flowd.socket")
    lab.systemctl("mask", *units)
    before = snapshot()
    for arguments in (("-i", former), ("-i", this), ("-r", "flowd"), ("-i", this), ("-P", "flowd")):
        # That is how Debian's own tool takes a unit that is masked.
        dpkg(*arguments, allowed="deb-systemd-helper: error: systemctl preset failed on flowd.")
        assert not lab.run("pgrep", "-x", "flowd", status=None) and not lab.FIFO.exists(), arguments
        for unit in units:
            assert os.readlink(f"/etc/systemd/system/{unit}") == "/dev/null", arguments
            assert lab.shown("ActiveState", unit) == "inactive", arguments
    after = snapshot()
    assert after == before, f"left: {sorted(after - before)}; gone: {sorted(before - after)}"
    lab.systemctl("unmask", *units)


if __name__ == "__main__":
    life(sys.argv[1], sys.argv[2])
