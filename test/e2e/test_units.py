# SPDX-License-Identifier: Apache-2.0
"""The units for systemd, as far as they can be judged without booting it (test/vm does that)."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from lab.flowd_process import BIN_DIR, FLOWD
from lab.netns import run
from lab.programs import program

UNITS = pathlib.Path(__file__).parents[2] / "packaging/systemd"


def install(directory):
    run(["cmake", "--install", str(BIN_DIR.parent), "--prefix", "/usr"], env={**os.environ, "DESTDIR": str(directory)})


@pytest.fixture(name="installed")
def installed_units(directory):
    """What `cmake --install` brings, and an instance of each template that an administrator makes instances of."""
    program("systemd-analyze")
    install(directory)
    units = directory / "usr/lib/systemd/system"
    for unit in units.iterdir():
        unit.write_text(unit.read_text(encoding="ascii").replace("=/usr/sbin/flowd", f"={FLOWD}"), encoding="ascii")
    for name in ("flowd@.service", "flowd@.socket"):
        shutil.copy(units / name, units / name.replace("@", "@one"))
    return units


def analyze(installed, *argv):
    return subprocess.run(["systemd-analyze", *argv], capture_output=True, text=True, check=False, cwd=installed,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": f"{installed}:"})


def test_systemd_reads_them(installed):
    """systemd-analyze finds nothing to say about any of them."""
    names = sorted(one.name for one in installed.iterdir() if "@." not in one.name)
    assert names == ["flowd-api.socket", "flowd-firefly.socket", "flowd-metrics.socket", "flowd-places.service",
                     "flowd.service", "flowd.socket", "flowd@one.service", "flowd@one.socket"]
    said = analyze(installed, "verify", "--man=no", *names)
    about_ours = [one for one in (said.stdout + said.stderr).splitlines() if "flowd" in one]
    assert not about_ours and said.returncode == 0, said.stderr
    # It would have: an option that systemd does not know.
    (installed / "flowd.socket").write_text("[Socket]\nListenFIFO=/run/flowd\nNoSuchOption=1\n")
    assert "NoSuchOption" in analyze(installed, "verify", "--man=no", "flowd.socket").stderr


@pytest.mark.parametrize("unit", ["flowd.service", "flowd@one.service"])
def test_what_they_are_kept_from(installed, unit):
    """systemd's own measure of a service's exposure, 0 to 10: at most 2."""

    def exposure():
        said = analyze(installed, "security", "--offline=true", "--no-pager", str(installed / unit))
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said.stdout)
        assert found, said.stdout + said.stderr
        return float(found[1])

    assert exposure() <= 2.0
    text = (installed / unit).read_text(encoding="ascii")
    assert "User=flowd\n" in text and "CAP_SYS_ADMIN" not in text
    # It would be more without one of them.
    (installed / unit).write_text(text.replace("User=flowd\n", ""), encoding="ascii")
    assert exposure() > 2.0


def test_no_directory_where_the_fifo_is():
    """A RuntimeDirectory=flowd would be made at the fifo's path."""
    assert "ListenFIFO=/run/flowd\n" in (UNITS / "flowd.socket").read_text(encoding="ascii")
    for unit in UNITS.iterdir():
        assert unit.is_dir() or "RuntimeDirectory=flowd" not in unit.read_text().splitlines(), unit


def test_the_fifo_is_where_flowd_looks_for_it(flowd_command, directory):
    """Of the same path and mode as flowd's own, so that either may make it."""
    (directory / "config.json").write_text('{"plugins": {"namedPipe": {}, "api": {}, "firefly": {}}, "backends": {"prometheus": {}}}')
    shown = flowd_command("-c", directory / "config.json", "conf").stdout
    for name, places in (("flowd.socket", ("/run/flowd", "0666")), ("flowd-api.socket", ("127.0.0.1", "7777")),
                         ("flowd-metrics.socket", ("127.0.0.1", "9000")),
                         ("flowd-firefly.socket", ("127.0.0.1", "10514"))):
        text = (UNITS / name).read_text(encoding="ascii")
        for place in places:
            assert place in text and place in shown, (name, place)


def test_installation(directory):
    """What `cmake --install` brings, with the paths of the prefix."""
    install(directory)
    installed = directory / "usr/lib/systemd/system"
    assert sorted(one.name for one in installed.iterdir()) == sorted(
        one.name.removesuffix(".in") for one in UNITS.iterdir() if one.is_file())
    service = (installed / "flowd.service").read_text(encoding="ascii")
    assert not [one for one in installed.iterdir() if re.search(r"@[A-Z_]+@", one.read_text(encoding="ascii"))]
    assert "ExecStart=/usr/sbin/flowd -c /etc/flowd/config.json" in service
    assert (directory / "usr/lib/sysusers.d/flowd.conf").is_file()
    # Whoever starts flowd otherwise keeps what is his own: nothing is given away at each boot.
    assert not (directory / "usr/lib/tmpfiles.d").exists()
    places = (installed / "flowd-places.service").read_text(encoding="ascii")
    assert " /usr/share/flowd/places.conf'" in places and (directory / "usr/share/flowd/places.conf").is_file()


def test_the_configuration_that_is_installed(flowd_command, directory):
    """It has no mistake, listens to this host alone and sends nothing; one that is there already stays."""
    install(directory)
    installed = directory / "etc/flowd/config.json"
    checked = flowd_command("-c", installed, "check")
    assert checked.returncode == 0, checked.stderr
    shown = json.loads(flowd_command("-c", installed, "conf").stdout)
    assert set(shown["plugins"]) == {"namedPipe", "api"} and set(shown["backends"]) == {"marker"}
    assert shown["plugins"]["api"]["bindAddress"] == "127.0.0.1"
    assert shown["backends"]["marker"]["onExit"] == "keep"
    installed.write_text("{}", encoding="ascii")
    install(directory)
    assert installed.read_text(encoding="ascii") == "{}"
