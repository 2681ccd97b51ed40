# SPDX-License-Identifier: Apache-2.0
"""The static programs in the smallest machine: a kernel, an initramfs with them and busybox, a network card."""

import json
import pathlib
import shutil
import struct
import subprocess
import sys

import pytest

from lab.flowd_process import FLOWCTL, FLOWD
from lab.labels import tag_of

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "vm"))

import kernels  # pylint: disable=wrong-import-position
import machine  # pylint: disable=wrong-import-position

_TIMEOUT_S = 150
_MODULES = ("virtio_pci", "virtio_net", "virtio_rng", "sch_ingress", "cls_bpf")
CONFIG = {"plugins": {"namedPipe": {}, "api": {}}, "backends": {"marker": {"targetInterfaces": ["eth0"]}}}


def make_initramfs(kernel, top, out):
    for place in ("bin", "proc", "sys", "dev", "run", "modules", "usr/sbin", "usr/bin", "etc/flowd", "var/lib/flowd"):
        (top / place).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), top / "bin/busybox")
    shutil.copy(HERE / "init", top / "init")
    for program, place in ((FLOWD, "usr/sbin"), (FLOWCTL, "usr/bin")):
        subprocess.run(["strip", "-o", top / place / program.name, program], check=True)
    (top / "etc/flowd/config.json").write_text(json.dumps(CONFIG))
    order = machine.copy_modules(kernel, top / "modules", _MODULES)
    (top / "order").write_text("".join(f"{one}\n" for one in order))
    with open(out, "wb") as file:
        subprocess.run("find . | cpio -o -H newc --quiet | gzip -1", shell=True, cwd=top, stdout=file, check=True)


def packets(path):
    """The Ethernet frames of a pcap file."""
    data, at = path.read_bytes(), 24
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        yield data[at + 16:at + 16 + length]
        at += 16 + length


def labels_sent(path, port):
    """The flow labels of TCP packets over IPv6 from this port."""
    return [int.from_bytes(frame[14:18], "big") & 0xFFFFF for frame in packets(path)
            if frame[12:14] == b"\x86\xdd" and frame[20] == 6 and frame[54:56] == port.to_bytes(2, "big")]


@pytest.mark.parametrize("line", ["5.10"])
def test_a_packet_marked_in_the_smallest_machine(line, directory):
    assert not machine.missing_programs()
    kernel = kernels.fetch(line)
    make_initramfs(kernel, directory / "root", directory / "initramfs")
    done = subprocess.run(
        ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults",
         "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", kernel.image,
         "-initrd", directory / "initramfs", "-append", "console=ttyS0 quiet panic=-1 net.ifnames=0 no_timer_check",
         "-netdev", "user,id=net0,ipv6=on", "-device", "virtio-net-pci,netdev=net0",
         "-object", f"filter-dump,id=dump0,netdev=net0,file={directory}/pcap", "-device", "virtio-rng-pci"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False)
    print(done.stdout, done.stderr)
    assert "flowd ended with status 0" in done.stdout
    labels = labels_sent(directory / "pcap", 40001)
    assert labels and {tag_of(label) for label in labels} == {(2, 17)}, labels
