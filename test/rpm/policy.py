# SPDX-License-Identifier: Apache-2.0
"""
What the SELinux module allows, in a whole policy: Debian's modules and the module of the package,
compiled together, with all assertions (neverallow) of that policy.
"""

import bz2
import pathlib
import re
import subprocess

from package import RpmError, run, want

CONVERTER = "/usr/libexec/selinux/hll/pp"
FIFO_WRITE = {"append", "getattr", "ioctl", "lock", "open", "write"}
FIFO_MANAGE = FIFO_WRITE | {"create", "link", "read", "rename", "setattr", "unlink"}
OWN = {"flowd_log_t", "flowd_runtime_t", "flowd_tmpfs_t", "flowd_var_lib_t"}
# Exactly these. "self" is /proc/self, init_tmpfs_t what init left open for all daemons.
WRITES = OWN | {"bpf_t", "flowd_t", "init_tmpfs_t"}
MAKES_IN = OWN | {"bpf_t", "tmpfs_t", "var_run_t"}
RUNS = {"flowd_exec_t", "ld_so_t", "lib_t", "textrel_shlib_t"}
CONNECTS_TO = {"dns_port_t", "http_cache_port_t", "http_port_t"}


class Policy:
    """A compiled policy."""

    def __init__(self, path):
        self.path = path

    def allowed(self, source, cls, target=None, perms=None):
        """By target the permissions that the policy always gives (no booleans)."""
        argv = ["sesearch", "-A", "-s", source, "-c", cls]
        argv += ["-t", target] if target else []
        argv += ["-p", perms] if perms else []
        found = {}
        for line in run([*argv, self.path]).splitlines():
            rule = re.fullmatch(r"allow (\S+) (\S+):\S+ (?:\{ (.*) \}|(\S+));", line)
            if rule is not None:
                found.setdefault(rule[2], set()).update((rule[3] or rule[4]).split())
        return found

    def transitions(self, source, target, cls):
        return run(["sesearch", "-T", "-s", source, "-t", target, "-c", cls, self.path]).splitlines()


def distribution_modules(directory):
    """The modules of Debian's policy, unpacked and not installed: this machine may have none."""
    directory.mkdir()
    # apt's own user could not write here.
    download = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", "selinux-policy-default"]
    try:
        run(download, cwd=directory)
    except RpmError:
        run(["apt-get", "-q", "update"])
        run(download, cwd=directory)
    run(["dpkg-deb", "-x", *directory.glob("*.deb"), directory])
    found = sorted((directory / "usr/share/selinux/default").glob("*.pp.bz2"))
    want(len(found) > 100, f"{len(found)} modules in selinux-policy-default")
    return found


def compile_policy(directory, package):
    unpacked = directory / "package"
    unpacked.mkdir(parents=True)
    archive = subprocess.run(["rpm2cpio", package], check=True, capture_output=True).stdout
    subprocess.run(["busybox", "cpio", "-idm"], cwd=unpacked, input=archive, check=True, capture_output=True)
    own = unpacked / "usr/share/selinux/packages/targeted/flowd.pp.bz2"
    sources = []
    for module in [*distribution_modules(directory / "debian"), own]:
        source = directory / f"{module.name.partition('.')[0]}.cil"
        done = subprocess.run([CONVERTER], input=bz2.decompress(module.read_bytes()), capture_output=True, check=False)
        want(done.returncode == 0, f"{module.name}: {done.stderr}")
        source.write_bytes(done.stdout)
        sources.append(source)
    compiled = directory / "policy"
    run(["secilc", "-o", compiled, "-f", directory / "contexts", *sources])
    return Policy(compiled), (directory / "contexts").read_text()


def check_fifo(policy):
    """Web servers write, systemd makes, flowd does what it likes; nobody else by this module."""
    for domain, wanted in (("httpd_t", FIFO_WRITE), ("init_t", FIFO_MANAGE), ("flowd_t", FIFO_MANAGE)):
        found = policy.allowed(domain, "fifo_file", "flowd_fifo_t").get("flowd_fifo_t")
        want(found == wanted, f"{domain} on the fifo: {found}, not {wanted}")
    given = {source for source in re.findall(r"^allow (\S+) flowd_fifo_t:fifo_file", run(
        ["sesearch", "-A", "-t", "flowd_fifo_t", "-c", "fifo_file", policy.path]), re.MULTILINE)}
    want(given == {"httpd_t", "init_t", "flowd_t"}, f"the fifo is given to {given}")
    for target in ("flowd_etc_t", "flowd_var_lib_t", "flowd_runtime_t"):
        found = policy.allowed("httpd_t", "file", target, "write").get(target)
        want(not found, f"httpd_t writes {target}: {found}")


def check_domain(policy):
    """flowd may what it needs, and not more."""
    started = policy.transitions("init_t", "flowd_exec_t", "process")
    want(started == ["type_transition init_t flowd_exec_t:process flowd_t;"], f"transition: {started}")
    for cls, wanted in (("capability", {"net_admin"}), ("capability2", {"bpf", "perfmon"}),
                        ("bpf", {"map_create", "map_read", "map_write", "prog_load", "prog_run"})):
        found = policy.allowed("flowd_t", cls)
        want(found == {"flowd_t": wanted}, f"{cls}: {found}")
    for what, cls, perms, wanted in (
            ("writes", "file", "write,append,create,unlink,setattr", WRITES),
            ("makes files in", "dir", "add_name", MAKES_IN),
            ("runs", "file", "execute", RUNS),
            ("runs, unchanged,", "file", "execute_no_trans", set()),
            ("becomes", "process", "transition,dyntransition", set()),
            # On Enterprise Linux 9000, the metrics' port, is http_port_t, which port 80 makes a reserved one.
            ("binds TCP ports", "tcp_socket", "name_bind", {"http_port_t", "unreserved_port_type"}),
            ("binds UDP ports", "udp_socket", "name_bind", {"unreserved_port_type"}),
            ("connects to", "tcp_socket", "name_connect", CONNECTS_TO)):
        found = set(policy.allowed("flowd_t", cls, perms=perms))
        want(found == wanted, f"flowd_t {what} {found}, not {wanted}")
    found = policy.allowed("systemd_tmpfiles_t", "dir", "bpf_t").get("bpf_t", set())
    want({"create", "setattr", "add_name"} <= found, f"systemd-tmpfiles in the bpffs: {found}")
    # What TLS libraries read: certificates, and the distribution's settings of cryptography.
    for target in ("cert_t", "etc_t", "usr_t", "sysctl_crypto_t"):
        want({"open", "read"} <= policy.allowed("flowd_t", "file", target).get(target, set()), f"flowd_t can't read {target}")
    for target in ("shadow_t", "user_home_t", "ssh_home_t"):
        found = policy.allowed("flowd_t", "file", target).get(target)
        want(not found, f"flowd_t on {target}: {found}")
    for cls in ("netlink_route_socket", "netlink_tcpdiag_socket"):
        want({"create", "nlmsg_read", "nlmsg_write"} <= policy.allowed("flowd_t", cls).get("flowd_t", set()),
             f"flowd_t lacks {cls}")
    named = {line.split()[-1].rstrip(";") for cls in ("fifo_file", "sock_file")
             for line in policy.transitions("flowd_t", "var_run_t", cls)}
    want(named == {"flowd_fifo_t", "flowd_runtime_t"}, f"types of what flowd makes in /run: {named}")


def check_contexts(contexts):
    """The types of paths, by the names that the policy of Enterprise Linux 9 has for them."""
    for path, kind in (("/var/run/flowd", "flowd_fifo_t"), ("/usr/sbin/flowd", "flowd_exec_t")):
        want(re.search(rf"^{path}\s.*:{kind}:", contexts, re.MULTILINE), f"{path} is not {kind}")
    want(not re.search(r"^/run/flowd", contexts, re.MULTILINE), "/run/flowd by a name that has no effect")


def check(directory, package):
    want(pathlib.Path(CONVERTER).exists(), f"{CONVERTER} is not there (policycoreutils)")
    compiled, contexts = compile_policy(directory, package)
    check_contexts(contexts)
    check_fifo(compiled)
    check_domain(compiled)
