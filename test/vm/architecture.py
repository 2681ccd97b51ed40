# SPDX-License-Identifier: Apache-2.0
"""
What differs between the architectures of machines: the emulator and its board, the console, and the
names that Debian has for both. A machine of another architecture than this one's is emulated by the
same means: nothing here needs KVM.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Architecture:
    """An architecture, by Debian's name of it."""

    name: str
    qemu: tuple  # the program with the board and the processor
    console: str
    arguments: str  # more for the kernel's command line


AMD64 = Architecture("amd64", ("qemu-system-x86_64", "-machine", "q35", "-cpu", "max"), "ttyS0",
                     # Where emulation is slow the kernel takes the timer for broken, and panics.
                     "no_timer_check")
# A processor of servers: it has the atomic instructions that the kernel's JIT compiler prefers.
ARM64 = Architecture("arm64", ("qemu-system-aarch64", "-machine", "virt", "-cpu", "neoverse-n1"), "ttyAMA0", "")
