# SPDX-License-Identifier: Apache-2.0
"""
The root file system of the machines: a bookworm of what packages.txt names, as an ext4 image.

Nothing of the tree under test is in it (a machine sees the tree as it is, see machine.py), so it is
made once and again when the list or what is put in here changes. A machine writes into a copy of
its own.
"""

import hashlib
import os
import shutil

from cache import CACHE, HERE, KEYRING, locked, mirrors, run

_SUITE = "bookworm"
_SIZE = "4G"
# What would start by itself where systemd is init, and has nothing to do with a test.
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "getty@tty1.service", "iperf3.service", "nftables.service", "prometheus-node-exporter.service",
    "prometheus.service", "serial-getty@ttyS0.service", "systemd-networkd.service", "systemd-timesyncd.service",
)


def _packages():
    return [line for line in (HERE / "packages.txt").read_text(encoding="ascii").split() if line]


def _put_in(root):
    """The machines' own files, see init and run-command."""
    (root / "vm").mkdir()
    for name in ("init", "run-command"):
        shutil.copy(HERE / name, root / "vm" / name)
        (root / "vm" / name).chmod(0o755)
    for name in ("share", "tree"):
        (root / name).mkdir()
    units = root / "etc/systemd/system"
    wanted = units / "graphical.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "vm-command.service", units)
    (wanted / "vm-command.service").symlink_to("../vm-command.service")
    (units / "default.target").unlink(missing_ok=True)
    (units / "default.target").symlink_to("/lib/systemd/system/graphical.target")
    for unit in _MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    (root / "etc/fstab").write_text("", encoding="ascii")
    (root / "etc/hostname").write_text("vm\n", encoding="ascii")
    (root / "etc/machine-id").write_text("", encoding="ascii")


def _make(image):
    root = CACHE / "root"
    half = image.with_suffix(".half")
    shutil.rmtree(root, ignore_errors=True)
    run(["debootstrap", "--variant=minbase", f"--keyring={KEYRING}", f"--include={','.join(_packages())}",
         _SUITE, root, mirrors()[0]], env={**os.environ, "WGETRC": str(HERE.parent / "fresh/wgetrc")})
    for place in ("var/cache/apt/archives", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / place, ignore_errors=True)
    _put_in(root)
    half.unlink(missing_ok=True)
    with open(half, "wb"):
        pass
    run(["truncate", "-s", _SIZE, half])
    run(["mkfs.ext4", "-q", "-O", "^has_journal", "-d", root, half])
    shutil.rmtree(root)
    os.rename(half, image)


def image():
    """The path of the image, made if it is not there."""
    digest = hashlib.sha256()
    for name in ("packages.txt", "init", "run-command", "vm-command.service", "root.py"):
        digest.update((HERE / name).read_bytes())
    path = CACHE / f"root-{digest.hexdigest()[:12]}.ext4"
    with locked():
        if not path.exists():
            print("making the root image of the machines", flush=True)
            _make(path)
            for old in CACHE.glob("root-*.ext4"):
                if old != path:
                    old.unlink()
    return path
