#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
flowd under systemd: boots Debian 12's systemd with its kernel, with flowd installed as `cmake
--install` does, and runs systemd_inside.py there. A run that gives no result is a failure.

    systemd.py [BUILD [KERNEL]]      (BUILD: a built release, default build/)
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import kernels
import machine
import systemd_lab as lab
from cache import HERE, TREE, VmError

KERNEL = "6.1"
# As an administrator leaves it before a boot, with a web server that writes a line when it starts.
_BEFORE = f"""
mount -t proc proc /proc
cp -a /share/installed/. /
systemd-sysusers
cat >/etc/systemd/system/nginx.service <<'EOF'
[Service]
Type=oneshot
TimeoutStartSec=20
ExecStart=/bin/sh -c '[ -p {lab.FIFO} ] && echo {lab.LINE} >{lab.FIFO}'
[Install]
WantedBy=multi-user.target
EOF
systemctl --root=/ enable flowd.service nginx.service
umount /proc
"""
_COMMAND = f"""
set -eu
# A system call that the filter refuses ends flowd here, so that none goes unnoticed.
for unit in flowd.service flowd@.service; do
    mkdir -p /run/systemd/system/$unit.d
    printf '[Service]\\nSystemCallErrorNumber=kill\\n' >/run/systemd/system/$unit.d/strict.conf
done
systemctl daemon-reload
exec /usr/bin/python3 -u {HERE}/systemd_inside.py >/share/output 2>&1
"""


def steps():
    """The names that must be reported."""
    sources = [(HERE / name).read_text(encoding="utf-8") for name in ("systemd_inside.py", "systemd_sandbox.py", "systemd_loosened.py")]
    return [name for one in sources for name in re.findall(r"^@step\ndef (\w+)\(", one, re.MULTILINE)]


def main():
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else TREE / "build").resolve()
    kernel = sys.argv[2] if len(sys.argv) > 2 else KERNEL
    missing = machine.missing_programs()
    if missing:
        print(f"this needs {', '.join(missing)} (packaging/dependencies/install vm)")
        return 1
    with tempfile.TemporaryDirectory(prefix="flowd-systemd-") as name:
        share = pathlib.Path(name)
        subprocess.run(["cmake", "--install", build, "--prefix", "/usr"], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DESTDIR": str(share / "installed")})
        try:
            status = machine.boot(kernels.fetch(kernel), _COMMAND, share, systemd=True, before=_BEFORE, timeout_s=900)
        except VmError as problem:
            print(problem)
            status = 125
        output = share / "output"
        text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
        print(text)
        silent = [one for one in steps() if f"\nok {one} (" not in f"\n{text}"]
        if status != 0 or silent:
            print(f"systemd: status {status}; without success: {', '.join(silent) or 'no step'}")
            return 1
    print("systemd: every step succeeded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
