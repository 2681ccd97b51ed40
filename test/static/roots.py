# SPDX-License-Identifier: Apache-2.0
"""A flowd that runs in a root directory of its own, in one of two joined namespaces, and a packet of its flow."""

import contextlib
import json
import socket
import subprocess

from lab.waiting import DEADLINE_S, until

EXPERIMENT, ACTIVITY = 2, 17
SPORT, DPORT = 40001, 1094
_IPV6_FLOWINFO = 11


def marker_config(fifo):
    return {
        "stateDir": "/state",
        "plugins": {"namedPipe": {"pipePath": fifo}, "api": {}},
        "backends": {"marker": {"targetInterfaces": ["veth0"], "pinPath": "/sys/fs/bpf/flowd"}},
    }


@contextlib.contextmanager
def kernel_file_systems(root):
    """What flowd wants of the kernel: bpffs at its usual place, and /proc, which loading BPF reads."""
    with contextlib.ExitStack() as mounted:
        for kind, name in (("proc", "proc"), ("bpf", "sys/fs/bpf")):
            (root / name).mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "-t", kind, kind, root / name], check=True)
            mounted.callback(subprocess.run, ["umount", root / name], check=True)
        yield


@contextlib.contextmanager
def running(pair, root, config, argv):
    """Runs the program until it is ready, and ends it as a user would: cleanly."""
    (root / "config.json").write_text(json.dumps(config))
    (root / "state").mkdir()
    log = root.parent / "log"
    with kernel_file_systems(root), open(log, "wb") as out:
        process = pair.near.popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            until(lambda: "daemon: ready" in log.read_text() or process.poll() is not None, log.read_text)
            assert process.poll() is None, log.read_text()
            yield process
        finally:
            process.terminate()
            status = process.wait(DEADLINE_S)
        assert status == 0, log.read_text()


def announce(pair, fifo):
    with open(fifo, "w", encoding="ascii") as out:
        out.write(f"start udp {pair.NEAR} {SPORT} {pair.FAR} {DPORT} {EXPERIMENT} {ACTIVITY}\n")


def label_of_packet(pair):
    """The flow label with which a packet of the flow arrives at the far end."""
    with pair.far.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver, \
            pair.near.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        receiver.setsockopt(socket.IPPROTO_IPV6, _IPV6_FLOWINFO, 1)
        receiver.settimeout(DEADLINE_S)
        receiver.bind((pair.FAR, DPORT))
        sender.bind((pair.NEAR, SPORT))
        sender.sendto(b"hello", (pair.FAR, DPORT))
        ancillary = receiver.recvmsg(64, socket.CMSG_SPACE(4))[1]
    words = [data for level, kind, data in ancillary if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_FLOWINFO)]
    return int.from_bytes(words[0][:4], "big") & 0xFFFFF if words else 0
