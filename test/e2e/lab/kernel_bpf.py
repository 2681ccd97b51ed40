# SPDX-License-Identifier: Apache-2.0
"""
Somebody else's BPF: a program that counts packets and passes them on, made with bpf(2) itself so
that no compiler is needed, and what is in flowd's pinned maps.
"""

import ctypes
import errno
import json
import os
import pathlib
import socket
import struct

from lab.netns import run

_SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
_MAP_CREATE, _MAP_LOOKUP, _PROG_LOAD, _OBJ_PIN, _OBJ_GET = 0, 1, 5, 6, 7
_PROG_GET_FD_BY_ID, _OBJ_GET_INFO, _PROG_QUERY, _LINK_CREATE = 13, 15, 16, 28
_MAP_TYPE_ARRAY, _PROG_TYPE_SCHED_CLS, _PROG_TYPE_SOCK_OPS = 2, 3, 13
_CGROUP_SOCK_OPS = 3
TCX_INGRESS, TCX_EGRESS = 46, 47
_F_BEFORE = 1 << 3

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


def _load(instructions, kind=_PROG_TYPE_SCHED_CLS):
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"GPL")
    return _bpf(_PROG_LOAD, struct.pack(
        "<IIQQ", kind, len(instructions) // 8, ctypes.addressof(code),
        ctypes.addressof(licence)))


def _count(counter_map, number=0):
    key = ctypes.create_string_buffer(struct.pack("<I", number), 4)
    value = ctypes.create_string_buffer(8)
    _bpf(_MAP_LOOKUP, struct.pack("<IIQQ", counter_map, 0, ctypes.addressof(key),
                                  ctypes.addressof(value)))
    return struct.unpack("<Q", value.raw)[0]


def _add_one(array):
    """Nine instructions that count up the first number of an array map."""
    return b"".join((
        _instruction(0x62, 10, 0, -4, 0),    # *(u32 *)(r10 - 4) = 0
        _instruction(0xBF, 2, 10),           # r2 = r10
        _instruction(0x07, 2, 0, 0, -4),     # r2 += -4
        _instruction(0x18, 1, 1, 0, array),  # r1 = the map, in two
        _instruction(0),
        _instruction(0x85, immediate=1),     # call map_lookup_elem
        _instruction(0x15, 0, 0, 2, 0),      # if r0 == 0 skip two
        _instruction(0xB7, 1, 0, 0, 1),      # r1 = 1
        _instruction(0xDB, 0, 1, 0, 0),      # lock *(u64 *)r0 += r1
    ))


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
            _add_one(self._map),
            _instruction(0xB7, 0, 0, 0, verdict),       # r0 = the verdict
            _instruction(0x95),                         # exit
        ))
        self.program = _load(instructions)
        self._link = None

    def count(self):
        return _count(self._map)

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


class ConnectionCounter:
    """An sk_ops program at a cgroup that counts the connections established to one local port."""

    _PASSIVE_ESTABLISHED, _LOCAL_PORT = 5, 68

    def __init__(self, cgroup, port):
        self._map = _bpf(_MAP_CREATE, struct.pack("<IIII", _MAP_TYPE_ARRAY, 4, 8, 1))
        self._program = _load(b"".join((
            _instruction(0x61, 2, 1, 0),                              # r2 = what happens
            _instruction(0x55, 2, 0, 11, self._PASSIVE_ESTABLISHED),  # another thing: to the verdict
            _instruction(0x61, 2, 1, self._LOCAL_PORT),               # r2 = the local port
            _instruction(0x55, 2, 0, 9, port),                        # another one: to the verdict
            _add_one(self._map),
            _instruction(0xB7, 0, 0, 0, 1),                           # r0 = 1
            _instruction(0x95),                                       # exit
        )), _PROG_TYPE_SOCK_OPS)
        directory = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        self._link = _bpf(_LINK_CREATE, struct.pack("<IIII", self._program, directory, _CGROUP_SOCK_OPS, 0))
        os.close(directory)

    def count(self):
        return _count(self._map)

    def close(self):
        for descriptor in (self._link, self._program, self._map):
            os.close(descriptor)


def watched_in_kernel(daemon):
    """How many entries the program's map of watched connections has."""
    entries = []
    for path in pathlib.Path(f"/proc/{daemon.pid}/fdinfo").iterdir():
        held = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        if "map_id" not in held:
            continue
        number = held["map_id"].strip()
        if json.loads(run(["bpftool", "-j", "map", "show", "id", number]).stdout)["name"] == "flowd_watched":
            entries.append(len(json.loads(run(["bpftool", "-j", "map", "dump", "id", number]).stdout)))
    assert len(entries) == 1, entries
    return entries[0]


# What a program may ask of an Ethernet frame: (offset, bytes, mask, value), in network byte order.
IS_IPV6 = (12, 2, 0xFFFF, 0x86DD)


def plain_udp(port, *more):
    """UDP over IPv6 to a port, without extension headers."""
    return IS_IPV6, (20, 1, 0xFF, socket.IPPROTO_UDP), (56, 2, 0xFFFF, port), *more


def extended_udp(port, first, second=None):
    """The same behind one or two extension headers of 8 bytes each."""
    if second is None:
        return (IS_IPV6, (20, 1, 0xFF, first), (54, 1, 0xFF, socket.IPPROTO_UDP),
                (64, 2, 0xFFFF, port))
    return (IS_IPV6, (20, 1, 0xFF, first), (54, 1, 0xFF, second),
            (62, 1, 0xFF, socket.IPPROTO_UDP), (72, 2, 0xFFFF, port))


def label_is(label, mask=0xFFFFF):
    """The flow label is this one, as far as the mask goes."""
    return 14, 4, mask, label


class Tally:
    """
    A program for a tc or TCX hook that counts packets by what they look like: one count for each
    description, which is a sequence of questions that all have to be answered with yes.
    """

    _SIZES = {1: 0x30, 2: 0x28, 4: 0x20}  # loads from the frame into r0, in host byte order

    def __init__(self, *descriptions, verdict=Counter.NEXT):
        self._map = _bpf(_MAP_CREATE, struct.pack("<IIII", _MAP_TYPE_ARRAY, 4, 8, len(descriptions)))
        instructions = _instruction(0xBF, 6, 1)  # r6 = the packet
        for number, description in enumerate(descriptions):
            instructions += self._asking(description, self._counting(number))
        instructions += _instruction(0xB7, 0, 0, 0, verdict) + _instruction(0x95)
        self.program = _load(instructions)
        self._links = []

    def _counting(self, number):
        return b"".join((
            _instruction(0x62, 10, 0, -4, number),      # *(u32 *)(r10 - 4) = number
            _instruction(0xBF, 2, 10),                  # r2 = r10
            _instruction(0x07, 2, 0, 0, -4),            # r2 += -4
            _instruction(0x18, 1, 1, 0, self._map),     # r1 = the map
            _instruction(0),
            _instruction(0x85, immediate=1),            # call map_lookup_elem
            _instruction(0x15, 0, 0, 2, 0),             # if r0 == 0 skip two
            _instruction(0xB7, 1, 0, 0, 1),             # r1 = 1
            _instruction(0xDB, 0, 1, 0, 0),             # lock *(u64 *)r0 += r1
        ))

    def _asking(self, description, then):
        """The questions, last first: each jumps behind what follows when its answer is no."""
        code = then
        for offset, size, mask, value in reversed(description):
            code = b"".join((
                _instruction(self._SIZES[size], immediate=offset),
                _instruction(0x54, 0, 0, 0, mask),                      # r0 &= mask
                _instruction(0x55, 0, 0, len(code) // 8, value),        # if r0 != value skip
            )) + code
        return code

    def count(self, number=0):
        return _count(self._map, number)

    def pin(self, path):
        name = ctypes.create_string_buffer(os.fsencode(path))
        _bpf(_OBJ_PIN, struct.pack("<QI", ctypes.addressof(name), self.program))

    def attach_tcx(self, namespace, interface, direction=TCX_EGRESS, first=False):
        """Attaches behind what is there, or first of all, until close()."""
        with namespace.entered():
            index = socket.if_nametoindex(interface)
            self._links.append(_bpf(_LINK_CREATE, struct.pack(
                "<IIII", self.program, index, direction, _F_BEFORE if first else 0)))
        return self

    def pin_link(self, path):
        """The last one."""
        name = ctypes.create_string_buffer(os.fsencode(path))
        _bpf(_OBJ_PIN, struct.pack("<QI", ctypes.addressof(name), self._links[-1]))

    def close(self):
        for descriptor in (*self._links, self.program, self._map):
            os.close(descriptor)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class BlackHole:
    """
    Swallows frames longer than largest where they arrive at an interface, and counts them. Nobody
    is told.
    """

    def __init__(self, namespace, interface, largest):
        self._map = _bpf(_MAP_CREATE, struct.pack("<IIII", _MAP_TYPE_ARRAY, 4, 8, 1))
        self.program = _load(b"".join((
            _instruction(0x61, 0, 1, 0),                # r0 = its length
            _instruction(0x25, 0, 0, 2, largest),       # if r0 > largest skip two
            _instruction(0xB7, 0, 0, 0, -1),            # r0 = next
            _instruction(0x95),                         # exit
            _add_one(self._map),
            _instruction(0xB7, 0, 0, 0, 2),             # r0 = drop
            _instruction(0x95),                         # exit
        )))
        with namespace.entered():
            index = socket.if_nametoindex(interface)
            self._link = _bpf(_LINK_CREATE, struct.pack("<IIII", self.program, index, TCX_INGRESS, 0))

    def count(self):
        return _count(self._map)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for descriptor in (self._link, self.program, self._map):
            os.close(descriptor)


def _program_name(identifier):
    program = _bpf(_PROG_GET_FD_BY_ID, struct.pack("<I", identifier))
    try:
        about = ctypes.create_string_buffer(80)
        _bpf(_OBJ_GET_INFO, struct.pack("<IIQ", program, len(about), ctypes.addressof(about)))
        return about.raw[64:80].partition(b"\0")[0].decode()
    finally:
        os.close(program)


def tcx_programs(namespace, interface):
    """(id, name) of the programs at the egress hook, the first one first. Debian 12's bpftool shows none."""
    most = 64
    identifiers = (ctypes.c_uint32 * most)()
    with namespace.entered():
        attributes = ctypes.create_string_buffer(struct.pack(
            "<IIIIQII", socket.if_nametoindex(interface), TCX_EGRESS, 0, 0,
            ctypes.addressof(identifiers), most, 0).ljust(128, b"\0"), 128)
        if _libc.syscall(_SYS_BPF, _PROG_QUERY, attributes, 128) < 0:
            number = ctypes.get_errno()
            assert number == errno.ENOENT, os.strerror(number)
            return []
    count = struct.unpack_from("<I", attributes, 24)[0]
    return [(one, _program_name(one)) for one in identifiers[:count]]


def clsact_filters(namespace, interface):
    """(id, name) of the programs at the interface's clsact, both directions; newer bpftools name TCX's with them."""
    shown = json.loads(namespace.run("/usr/sbin/bpftool", "-j", "net", "show", "dev", interface).stdout)
    return [(one["id"], one["name"]) for one in shown[0]["tc"] if one["kind"].startswith("clsact/")]


def pinned(path):
    """Every file under a pin path."""
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.exists() else []


def get_pinned(path):
    """A file descriptor of what is pinned there, which the caller closes."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return _bpf(_OBJ_GET, struct.pack("<QI", ctypes.addressof(name), 0))


def map_info(pin):
    """What the kernel says of a map."""
    about = ctypes.create_string_buffer(88)
    _bpf(_OBJ_GET_INFO, struct.pack("<IIQ", pin, 88, ctypes.addressof(about)))
    return dict(zip(("type", "id", "key_size", "value_size", "max_entries", "flags"),
                    struct.unpack_from("<6I", about)))
