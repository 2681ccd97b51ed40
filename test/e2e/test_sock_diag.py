# SPDX-License-Identifier: Apache-2.0
"""How many sockets flowd has for what the kernel knows of TCP sockets, with every module that asks."""

import pathlib

from lab.daemon_config import base_config
from lab.netns import Pair

NETLINK_SOCK_DIAG = 4


def sock_diag_sockets(pid):
    """Those of the process: its descriptors' inodes that /proc has under this protocol."""
    inodes = set()
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        target = str(link.readlink())
        if target.startswith("socket:["):
            inodes.add(target[len("socket:["):-1])
    rows = [row.split() for row in pathlib.Path(f"/proc/{pid}/net/netlink").read_text().splitlines()]
    protocol, inode = rows[0].index("Eth"), rows[0].index("Inode")
    return sum(row[protocol] == str(NETLINK_SOCK_DIAG) and row[inode] in inodes for row in rows[1:])


def test_one_for_questions_one_for_the_scan_one_for_notifications(pair, make_flowd, directory, pin_path):
    config = base_config(directory, pin_path)
    config["plugins"].update({"netlink": {"experiment": 3, "activity": 5, "period": 500},
                              "iperf3": {"minDestinationPort": 5201, "maxDestinationPort": 5201}})
    config["backends"]["firefly"] = {"sendToDestination": False, "collectors": [Pair.FAR4]}
    config["enrichers"] = {"netlink": {}, "skops": {}}
    daemon = make_flowd(pair.near, config).start()
    assert sock_diag_sockets(daemon.process.pid) == 3


def test_none_where_nobody_asks(pair, make_flowd, directory, pin_path):
    config = base_config(directory, pin_path)
    config["flows"] = {"endOnClose": False}
    daemon = make_flowd(pair.near, config).start()
    assert sock_diag_sockets(daemon.process.pid) == 0
