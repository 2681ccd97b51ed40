# SPDX-License-Identifier: Apache-2.0
"""
A virtual machine that runs one command and ends.

qemu without KVM, so that it runs wherever CI does. The kernel mounts the root image (changes go into
a copy that is thrown away), and by 9p the kernel's modules, the tree at the path that it has on the
host (read-only) and a directory that is shared: what the command writes into /share is there
afterwards. run-command is the inside of it.
"""

import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

import foreign
import root
from architecture import AMD64
from cache import HERE, TREE, VmError, run

_SUFFIXES = {".xz": ["xz", "-dc"], ".zst": ["zstd", "-dcq"], ".gz": ["gzip", "-dc"]}
# What mounting the root image and the shared directories needs, where it is no part of the kernel.
_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "9p", "9pnet_virtio", "virtio_rng")


def _initramfs(kernel):
    """busybox, the modules to mount the root with, and initramfs-init, which does that."""
    out = kernel.directory / "initramfs.gz"
    script = HERE / "initramfs-init"
    newest = max(script.stat().st_mtime, pathlib.Path(__file__).stat().st_mtime)
    if out.exists() and out.stat().st_mtime >= newest:
        return out
    own = kernel.architecture is AMD64
    busybox = shutil.which("busybox") if own else foreign.sysroot(kernel.architecture) / "usr/bin/busybox"
    if busybox is None:
        raise VmError("busybox is not installed (packaging/dependencies/install vm)")
    with tempfile.TemporaryDirectory() as name:
        top = pathlib.Path(name)
        for place in ("bin", "proc", "sys", "dev", "root", "modules"):
            (top / place).mkdir()
        shutil.copy(busybox, top / "bin/busybox")
        shutil.copy(script, top / "init")
        (top / "init").chmod(0o755)
        (top / "order").write_text("".join(f"{one}\n" for one in copy_modules(kernel, top / "modules")),
                                   encoding="ascii")
        half = out.with_suffix(".half")
        run(["sh", "-c", f"find . | cpio -o -H newc --quiet | gzip -1 >{shlex.quote(str(half))}"], cwd=top)
        half.rename(out)
    return out


def copy_modules(kernel, target, modules=_MODULES):
    """Copies the modules with what they depend on, uncompressed; returns their names in load order."""
    order = []
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name) / "lib/modules"
        place.mkdir(parents=True)
        (place / kernel.version).symlink_to(kernel.modules)
        for module in modules:
            shown = subprocess.run(["modprobe", "-d", name, "-S", kernel.version, "--show-depends", module],
                                   capture_output=True, text=True, check=False).stdout
            for line in shown.splitlines():
                verb, _, path = line.strip().partition(" ")
                path = pathlib.Path(path.strip())
                file = path.name.removesuffix(path.suffix) if path.suffix in _SUFFIXES else path.name
                if verb != "insmod" or file in order:
                    continue
                with open(target / file, "wb") as out:
                    subprocess.run([*_SUFFIXES.get(path.suffix, ["cat"]), path], stdout=out, check=True)
                order.append(file)
    return order


def _share(number, path, tag, readonly):
    return ["-fsdev", f"local,id=fs{number},path={path},security_model=none{',readonly=on' if readonly else ''}",
            "-device", f"virtio-9p-pci,fsdev=fs{number},mount_tag={tag}"]


def boot(kernel, command, share, systemd=False, before="", timeout_s=900, cpus=2, memory_mib=3072, append=""):
    """
    Runs a shell command as root in a machine with this kernel and returns its exit status. share is
    /share in it; the console is in share/console. With systemd it runs in a service of its own when
    the system has started; before is shell code that runs before systemd does. Raises VmError when the machine does not boot or gives no status.
    """
    share = pathlib.Path(share).resolve()
    share.mkdir(parents=True, exist_ok=True)
    (share / "status").unlink(missing_ok=True)
    (share / "command").write_text(command + "\n", encoding="utf-8")
    (share / "tree-path").write_text(f"{TREE}\n", encoding="utf-8")
    init = "/share/init" if systemd else "/vm/init"
    (share / "init").write_text(f"#!/bin/sh\n{before}\nexec /lib/systemd/systemd\n", encoding="utf-8")
    (share / "init").chmod(0o755)
    image = root.image() if kernel.architecture is AMD64 else foreign.image(kernel.architecture)
    argv = [
        *kernel.architecture.qemu, "-accel", "tcg,thread=multi",
        "-smp", str(cpus), "-m", str(memory_mib), "-nodefaults", "-no-reboot", "-display", "none",
        "-serial", "stdio", "-monitor", "none", "-kernel", kernel.image, "-initrd", _initramfs(kernel),
        "-append", f"console={kernel.architecture.console} quiet panic=-1 loglevel=4 net.ifnames=0 vm.init={init} "
                   f"systemd.unified_cgroup_hierarchy=1 systemd.show_status=0 "
                   f"{kernel.architecture.arguments} {append}",
        "-drive", f"file={image},format=raw,if=virtio,snapshot=on",
        "-device", "virtio-rng-pci",
        *_share(0, share, "share", False), *_share(1, TREE, "tree", True),
        *_share(2, kernel.modules, "modules", True),
    ]
    console = share / "console"
    with open(console, "wb") as out:
        process = subprocess.Popen([str(one) for one in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise VmError(f"kernel {kernel.version}: not done after {timeout_s} s\n{_end(console)}") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    try:
        return int((share / "status").read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise VmError(f"kernel {kernel.version}: no status came out of the machine\n{_end(console)}") from None


def _end(console):
    return console.read_text(encoding="utf-8", errors="replace")[-4000:]


def missing_programs(architecture=AMD64):
    """What this machine lacks to boot others; empty: nothing."""
    own = ("debootstrap", "busybox") if architecture is AMD64 else ("mmdebstrap",)
    needed = (architecture.qemu[0], *own, "cpio", "depmod", "modprobe", "mkfs.ext4", "xz", "zstd", "dpkg-deb",
              "apt-get")
    return not_found(needed)


def not_found(programs):
    """Those of the programs that this machine lacks."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in programs if shutil.which(name, path=path) is None]
