# SPDX-License-Identifier: Apache-2.0
"""
The inside of the systemd test: runs as root in a machine that systemd booted, with flowd installed.

Each step is a function; they run in order and share one system, as an administrator's days do. A
line "ok NAME" or "FAILED NAME" for each goes to standard output.
"""

import importlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import traceback

from systemd_lab import (ACTIVITY, DEADLINE_S, EXPERIMENT, FAR, FIFO, NEAR, PORT, STEPS, Traffic, announce, api,
                         background, configure, fails_at_once, journal, live, make_link, overridden, pid, run, shown,
                         spoil, stays, step, systemctl, until, WRITTEN_AT_BOOT)

# -- the steps, in the order in which they run --------------------------------------------------------


@step
def it_comes_up_with_the_machine():
    """
    Enabled, with the configuration that is installed: before the web server, whose line is a flow; and its packets
    are marked on an interface that came later.
    """
    assert shown("ActiveState") == "active" and shown("Result", "nginx") == "success", journal("nginx")
    until(lambda: live() == 1, lambda: f"the web server's flow: {live()}\n{journal()}")
    until(lambda: shown("StatusText").startswith("ready; 1 flow live"), lambda: shown("StatusText"))
    with Traffic(WRITTEN_AT_BOOT) as traffic:
        traffic.more()
        traffic.more()
    # As it was never there.
    systemctl("disable", "--now", "nginx", "flowd", "flowd.socket")
    run("flowd", "clean")
    run("rm", "-r", "/var/lib/flowd", str(FIFO))


@step
def units_are_well_formed():
    units = ["flowd.service", "flowd.socket", "flowd-api.socket", "flowd-metrics.socket", "flowd-firefly.socket",
             "flowd@any.service", "flowd@any.socket"]
    said = run("systemd-analyze", "verify", "--man=no", *units)
    assert "flowd" not in said, said
    # Whatever starts at boot as usual comes later than sockets.target; web servers also where they do not.
    assert {"sockets.target", "nginx.service", "httpd.service"} <= set(shown("Before", "flowd.socket").split())


@step
def enable_and_start():
    """The fifo comes with the service, made and held by systemd, and flowd is handed it."""
    configure()
    systemctl("enable", "flowd")
    assert systemctl("is-enabled", "flowd.socket").strip() == "enabled"
    systemctl("start", "flowd")
    assert shown("ActiveState") == "active"
    assert "fifo /run/flowd was handed over" in journal(), journal()
    assert FIFO.is_fifo() and FIFO.stat().st_mode & 0o777 == 0o666
    until(lambda: shown("StatusText").startswith("ready; 0 flows live"), lambda: shown("StatusText"))


@step
def status_text_counts_flows():
    announce(40001)
    until(lambda: shown("StatusText").startswith("ready; 1 flow live"), lambda: shown("StatusText"))


@step
def restart_under_traffic():
    announce(40001)
    until(lambda: live() >= 1, "the flow")
    with Traffic(40001) as traffic:
        traffic.more()
        for _ in range(2):
            before = pid()
            systemctl("restart", "flowd")
            assert pid() not in (0, before)
            traffic.more()
    assert live() >= 1


@step
def a_stopped_flowd_stays_stopped():
    """What is written meanwhile waits for the start."""
    known = live()
    systemctl("stop", "flowd")
    announce(*range(41000, 41050))
    stays(lambda: shown("ActiveState") == "inactive", "it was started", 2)
    announce(*range(41050, 41100))
    assert shown("ActiveState") == "inactive"
    systemctl("start", "flowd")
    until(lambda: live() == known + 100, lambda: f"the flows: {live()}")


@step
def lines_written_through_restarts():
    """By a program that keeps the fifo open and writes each line in two parts: none is lost or torn."""
    flows, ports = live(), range(45000, 46000)
    code = ("import os,sys,time\n"
            "fd = os.open(sys.argv[1], os.O_WRONLY)\n"
            "for port in range(int(sys.argv[2]), int(sys.argv[3])):\n"
            f"    line = f'start udp {NEAR} {{port}} {FAR} {PORT} {EXPERIMENT} {ACTIVITY}\\n'.encode()\n"
            "    os.write(fd, line[:port % 10 + 28])\n"
            "    time.sleep(0.002)\n"
            "    os.write(fd, line[port % 10 + 28:])\n")
    with subprocess.Popen([sys.executable, "-c", code, FIFO, str(ports.start), str(ports.stop)]) as writer:
        restarts = 0
        while writer.poll() is None:
            systemctl("restart", "flowd")
            restarts += 1
        assert writer.returncode == 0 and restarts > 1, (writer.returncode, restarts)
    until(lambda: live() == flows + len(ports), lambda: f"the flows: {live()} of {flows + len(ports)}")
    assert "namedPipe: " not in journal() and "; line: " not in journal(), journal()
    print(f"  {len(ports)} lines, {restarts} restarts", flush=True)


@step
def watchdog():
    """A flowd that stands still is replaced; its flows are there, and their packets never lost the mark."""
    with overridden("WatchdogSec=4"):
        systemctl("restart", "flowd")
        before, flows = pid(), live()
        with Traffic(40001):
            os.kill(before, signal.SIGSTOP)
            announce(42000)
            until(lambda: pid() not in (0, before) and shown("ActiveState") == "active", "another flowd")
        assert "watchdog" in journal().lower()
        until(lambda: live() == flows + 1, lambda: f"the flows: {live()}")


@step
def crash():
    before, flows = pid(), live()
    os.kill(before, signal.SIGKILL)
    announce(42001)
    until(lambda: pid() not in (0, before) and shown("ActiveState") == "active", "another flowd")
    until(lambda: live() == flows + 1, lambda: f"the flows: {live()}")


@step
def reload():
    before = pid()
    configure(lambda config: config.update(log={"level": "debug"}))
    systemctl("reload", "flowd")
    until(lambda: "reloaded;" in journal(), "the reload")
    assert pid() == before and shown("ActiveState") == "active"


@step
def reload_of_a_bad_configuration():
    """The reload fails and says why; the flowd that runs goes on."""
    before, reloads = pid(), journal().count("reload: reading")
    configure(spoil)
    assert "failed" in systemctl("reload", "flowd", status=1)
    assert "plugins.api.bindPort" in journal()
    assert pid() == before and shown("ActiveState") == "active" and live() > 0
    assert journal().count("reload: reading") == reloads
    # Also for those who send the signal themselves.
    os.kill(before, signal.SIGHUP)
    until(lambda: "the former one goes on" in shown("StatusText"), lambda: shown("StatusText"))
    assert pid() == before and shown("ActiveState") == "active"
    configure()
    systemctl("reload", "flowd")
    until(lambda: "former" not in shown("StatusText"), lambda: shown("StatusText"))


@step
def restart_with_a_bad_configuration():
    """It fails once, says why and does not loop; marks go on, and lines wait for the repair."""
    flows = live()
    configure(spoil)
    with Traffic(40001):
        systemctl("restart", "flowd", status=1)
        fails_at_once()
    assert shown("ExecMainStatus") == "2" and shown("NRestarts") == "0"
    assert "NOT RUNNING" in shown("StatusText") and "mistakes" in shown("StatusText"), shown("StatusText")
    configure()
    systemctl("start", "flowd")
    until(lambda: live() == flows + 1, lambda: f"the flows: {live()}")


@step
def sockets_of_the_api_and_the_metrics():
    """Requests of the time in which flowd is away are answered when it is back."""
    systemctl("stop", "flowd")
    systemctl("enable", "flowd-api.socket", "flowd-metrics.socket")
    systemctl("start", "flowd-api.socket", "flowd-metrics.socket")
    waiting = [background(api, "/healthz"), background(api, "/metrics", port=9000)]
    stays(lambda: shown("ActiveState") == "inactive", "it was started", 2)
    systemctl("start", "flowd")
    assert all(one() for one in waiting)
    for text in ("127.0.0.1:7777 was handed over", "127.0.0.1:9000 was handed over"):
        assert text in journal(), journal()


@step
def nobody_is_refused_during_a_restart():
    stopped, failures, served = threading.Event(), [], []

    def ask():
        while not stopped.is_set():
            try:
                served.append(api("/healthz"))
            except OSError as problem:
                # A connection that flowd had taken may end with it; a new one is never refused.
                if "refused" in str(problem).lower():
                    failures.append(problem)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    before = live()
    systemctl("restart", "flowd")
    announce(43000)
    systemctl("restart", "flowd")
    stopped.set()
    thread.join(DEADLINE_S)
    assert served and not failures, failures
    until(lambda: live() == before + 1, lambda: f"the flows: {live()}")


@step
def a_bad_configuration_with_sockets_does_not_loop():
    """Neither lines nor requests start it again and again, and no socket gives up."""
    configure(spoil)
    systemctl("restart", "flowd", status=1)
    waiting = background(api, "/healthz")
    fails_at_once(2)
    assert shown("ActiveState", "flowd-api.socket") == "active"
    configure()
    systemctl("start", "flowd")
    assert waiting()


@step
def sockets_can_be_restarted():
    """Each is held by a unit of its own that goes with it."""
    systemctl("restart", "flowd.socket")
    systemctl("restart", "flowd")
    announce(44000)
    until(lambda: live() > 0, "the flows")
    systemctl("disable", "--now", "flowd-api.socket")
    systemctl("restart", "flowd")
    assert live() > 0, "the configured listener"


@step
def a_web_server_that_starts_first():
    """It finds the fifo, does not wait for flowd, and its line is read."""
    flows = live()
    systemctl("stop", "flowd", "flowd.socket")
    FIFO.unlink()
    unit = pathlib.Path("/run/systemd/system/nginx.service")
    line = f"start udp {NEAR} 46000 {FAR} {PORT} {EXPERIMENT} {ACTIVITY}"
    unit.write_text("[Unit]\nBefore=flowd.service\n[Service]\nType=oneshot\nTimeoutStartSec=20\n"
                    f"ExecStart=/bin/sh -c 'echo {line} >{FIFO}'\n", encoding="ascii")
    systemctl("daemon-reload")
    systemctl("start", "flowd.socket", "nginx", "flowd")
    assert FIFO.is_fifo()
    until(lambda: live() == flows + 1, lambda: f"the web server's flow: {live()} of {flows + 1}")


@step
def what_does_not_mark_is_said():
    with overridden("AmbientCapabilities=\nCapabilityBoundingSet="):
        systemctl("restart", "flowd")
        assert shown("StatusText").startswith("NOT READY: "), shown("StatusText")
        assert "marker" in shown("StatusText"), shown("StatusText")
    configure(lambda config: config["backends"]["marker"].update(targetInterfaces=["nosuch0"]))
    systemctl("restart", "flowd")
    assert "NOT READY" in shown("StatusText") and "nosuch0" in shown("StatusText"), shown("StatusText")
    run("ip", "link", "add", "nosuch0", "type", "dummy")
    run("ip", "link", "set", "nosuch0", "up")
    until(lambda: shown("StatusText").startswith("ready; "), lambda: shown("StatusText"))
    configure()
    systemctl("restart", "flowd")
    until(lambda: shown("StatusText").startswith("ready; "), lambda: shown("StatusText"))


def main():
    # Its steps follow.
    importlib.import_module("systemd_sandbox")
    importlib.import_module("systemd_loosened")

    make_link()
    for one in STEPS:
        began = time.monotonic()
        try:
            one()
            print(f"ok {one.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception:  # pylint: disable=broad-except
            print(traceback.format_exc(limit=-2))
            print(systemctl("status", "--no-pager", "-l", "-n", "0", "flowd.service", "flowd.socket", status=None))
            print("\n".join(journal().splitlines()[-20:]))
            # What follows stands on it.
            print(f"FAILED {one.__name__}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
