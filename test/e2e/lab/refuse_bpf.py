# SPDX-License-Identifier: Apache-2.0
"""
Runs a program to which bpf(2) is refused by a seccomp filter, as a container's runtime or systemd may
do it: refuse_bpf.py ERRNO PROGRAM [ARGUMENT...]
"""

import ctypes
import os
import struct
import sys

_SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_RET_ERRNO, _RET_ALLOW = 0x00050000, 0x7FFF0000


def refuse(number):
    """From here on bpf(2) fails with the errno in this process and what it executes."""
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = [
        (_LOAD_WORD, 0, 0, 0),             # the system call's number
        (_JUMP_IF_EQUAL, 0, 1, _SYS_BPF),
        (_RETURN, 0, 0, _RET_ERRNO | number),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]
    packed = b"".join(struct.pack("=HBBI", *one) for one in instructions)
    code = ctypes.create_string_buffer(packed, len(packed))
    program = ctypes.create_string_buffer(
        struct.pack("@HP", len(instructions), ctypes.addressof(code)))
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, None), (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program)):
        if libc.prctl(*arguments, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    refuse(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
