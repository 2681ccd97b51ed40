"""
Somebody else's BPF: a program that counts packets and passes them on, made with bpf(2) itself so
that no compiler is needed, and what is in flowd's pinned maps.
"""

import ctypes
import json
import os
import socket
import struct

from netns import run

_SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
_MAP_CREATE, _MAP_LOOKUP, _PROG_LOAD, _OBJ_PIN, _LINK_CREATE = 0, 1, 5, 6, 28
_MAP_TYPE_ARRAY, _PROG_TYPE_SCHED_CLS = 2, 3
TCX_EGRESS = 47

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = _libc.syscall(_SYS_BPF, command, buffer, 128)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf command {command}: {os.strerror(number)}")
    return result


def _instruction(code, destination=0, source=0, offset=0, immediate=0):
    return struct.pack("<BBhi", code, source << 4 | destination, offset, immediate)


class Counter:
    """
    A program for a tc or TCX hook that counts UDP packets over IPv6 (neighbour discovery comes when
    it likes). Its verdict lets the next program go on (NEXT) or is the last word (PASS).
    """

    NEXT, PASS = -1, 0  # TCX_NEXT, which is TC_ACT_UNSPEC, and TCX_PASS, which is TC_ACT_OK

    def __init__(self, verdict=NEXT):
        self._map = _bpf(_MAP_CREATE, struct.pack("<IIII", _MAP_TYPE_ARRAY, 4, 8, 1))
        instructions = b"".join((
            _instruction(0xBF, 6, 1),                   # r6 = the packet
            _instruction(0x30, immediate=20),           # r0 = its next header
            _instruction(0x55, 0, 0, 9, 17),            # if r0 is not UDP skip to the verdict
            _instruction(0x62, 10, 0, -4, 0),           # *(u32 *)(r10 - 4) = 0
            _instruction(0xBF, 2, 10),                  # r2 = r10
            _instruction(0x07, 2, 0, 0, -4),            # r2 += -4
            _instruction(0x18, 1, 1, 0, self._map),     # r1 = the map
            _instruction(0),
            _instruction(0x85, immediate=1),            # call map_lookup_elem
            _instruction(0x15, 0, 0, 2, 0),             # if r0 == 0 skip two
            _instruction(0xB7, 1, 0, 0, 1),             # r1 = 1
            _instruction(0xDB, 0, 1, 0, 0),             # lock *(u64 *)r0 += r1
            _instruction(0xB7, 0, 0, 0, verdict),       # r0 = the verdict
            _instruction(0x95),                         # exit
        ))
        code = ctypes.create_string_buffer(instructions, len(instructions))
        licence = ctypes.create_string_buffer(b"GPL")
        self.program = _bpf(_PROG_LOAD, struct.pack(
            "<IIQQ", _PROG_TYPE_SCHED_CLS, len(instructions) // 8, ctypes.addressof(code),
            ctypes.addressof(licence)))
        self._link = None

    def count(self):
        key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(8)
        _bpf(_MAP_LOOKUP, struct.pack("<IIQQ", self._map, 0, ctypes.addressof(key),
                                      ctypes.addressof(value)))
        return struct.unpack("<Q", value.raw)[0]

    def pin(self, path):
        name = ctypes.create_string_buffer(os.fsencode(path))
        _bpf(_OBJ_PIN, struct.pack("<QI", ctypes.addressof(name), self.program))

    def attach_tcx(self, namespace, interface):
        """Attaches behind what is there, until close()."""
        with namespace.entered():
            index = socket.if_nametoindex(interface)
            self._link = _bpf(_LINK_CREATE, struct.pack("<IIII", self.program, index, TCX_EGRESS, 0))

    def close(self):
        for descriptor in (self._link, self.program, self._map):
            if descriptor is not None:
                os.close(descriptor)


def pinned(path):
    """Every file under a pin path."""
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.exists() else []


def _bpftool(*arguments):
    return json.loads(run(["/usr/sbin/bpftool", "-j", *map(str, arguments)]).stdout or "null")


def _flow_map(pin_path):
    """The flow map is found among the pins by the sizes of its keys and values."""
    for path in pinned(pin_path):
        shown = run(["/usr/sbin/bpftool", "-j", "map", "show", "pinned", str(path)], check=False)
        if shown.returncode != 0:
            continue
        about = json.loads(shown.stdout)
        if about.get("bytes_key") in (24, 40) and about.get("bytes_value") == 8:
            return path, about["bytes_key"]
    raise AssertionError(f"no flow map among {pinned(pin_path)}")


def map_entries(pin_path):
    """The entries: {(dst, sport, dport, protocol): (label, experiment, activity)}."""
    path, _ = _flow_map(pin_path)
    return dict(_entry(one) for one in _bpftool("map", "dump", "pinned", path))


def add_map_entry(pin_path, dst, sport, dport, protocol):
    """Adds an entry behind flowd's back, as a crash between two steps might leave one."""
    path, size = _flow_map(pin_path)
    number = {"tcp": 6, "udp": 17}[protocol]
    key = (socket.inet_pton(socket.AF_INET6, dst) + struct.pack("!HHB", sport, dport, number)
           ).ljust(size, b"\0")
    value = struct.pack("=IHBB", 0x10044, 2, 17, 0)
    _bpftool("map", "update", "pinned", path, "key", *key, "value", *value)


def _entry(dumped):
    key, value = (bytes(int(byte, 16) for byte in dumped[name]) for name in ("key", "value"))
    sport, dport = struct.unpack_from("!HH", key, 16)
    label, experiment, activity = struct.unpack_from("=IHB", value)
    protocol = {6: "tcp", 17: "udp"}[key[20]]
    return ((socket.inet_ntop(socket.AF_INET6, key[:16]), sport, dport, protocol),
            (label, experiment, activity))
