# SPDX-License-Identifier: Apache-2.0
"""Alternative names of interfaces, wherever a name may be given."""

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.flood import Flood
from lab.kernel_bpf import TCX_INGRESS, Tally, clsact_filters, label_is, plain_udp, tcx_programs
from lab.links import Link, Veth
from lab.traffic import udp_socket
from lab.waiting import until

SHORT = "enp3s0f0"
LONG = "enx" + "0123456789" * 12 + "abcd"


def altname(space, what, name, device=Link.NAME):
    space.ip("link", "property", what, "dev", device, "altname", name)


def states(api):
    return {one["name"]: one["state"] for one in api.status()["interfaces"]}


def programs(space):
    return tcx_programs(space, Link.NAME) + clsact_filters(space, Link.NAME)


@pytest.fixture
def link(pair):
    link = Veth(pair)
    link.create()
    return link


@pytest.mark.parametrize("attach", ["tcx", "tc"])
@pytest.mark.parametrize("name", [SHORT, LONG], ids=["short", "long"])
def test_an_alternative_name_is_a_target(pair, link, make_flowd, directory, pin_path, name, attach):
    """There at the start, taken away and given again while flowd runs: marks follow."""
    assert len(LONG) == 127
    altname(pair.near, "add", name)
    daemon = make_flowd(pair.near, base_config(directory, pin_path, interfaces=[name], attach=attach)).start()
    api = Api(pair.near)
    api.post(event(Link.NEAR, 4000, Link.FAR, 4001)).expect(201)
    with link.reach("label") as marked:
        assert states(api) == {name: "attached"} and marked()
        altname(pair.near, "del", name)
        until(lambda: states(api) == {name: "waiting"}, "the loss of the name")
        assert not marked() and programs(pair.near) == []
        altname(pair.near, "add", name)
        until(lambda: states(api) == {name: "attached"}, "the name")
        assert marked()
        daemon.kill()
        assert marked()
        daemon.start()
        assert states(Api(pair.near)) == {name: "attached"} and marked()


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_one_interface_by_two_names(pair, link, make_flowd, directory, pin_path, attach):
    """
    It is attached to once, by the first of the list that it has; while names come and go no packet of
    a flood leaves unmarked.
    """
    make_flowd(pair.near, base_config(directory, pin_path, interfaces=[SHORT, Link.NAME, LONG, SHORT],
                                      attach=attach)).start()
    api = Api(pair.near)
    assert states(api) == {SHORT: "waiting", Link.NAME: "attached", LONG: "waiting"}
    with udp_socket(pair.far, Link.FAR) as receiver, udp_socket(pair.near, Link.NEAR) as sender:
        port = receiver.getsockname()[1]
        api.post(event(Link.NEAR, sender.getsockname()[1], Link.FAR, port)).expect(201)
        sender.connect((Link.FAR, port))
        with Tally(plain_udp(port), plain_udp(port, label_is(0))) as tally:
            tally.attach_tcx(pair.far, "across0", TCX_INGRESS)
            with Flood(sender) as flood:
                for what, name, after in (
                        ("add", LONG, {SHORT: "waiting", Link.NAME: "attached"}),
                        ("add", SHORT, {SHORT: "attached"}),
                        ("del", LONG, {SHORT: "attached", LONG: "waiting"}),
                        ("del", SHORT, {SHORT: "waiting", Link.NAME: "attached", LONG: "waiting"})):
                    altname(pair.near, what, name)
                    until(lambda: states(api) == after, f"{what} {name}")
                    sent = flood.sent
                    until(lambda: flood.sent > sent + 100, "packets")
                    assert len(programs(pair.near)) == 1
            assert tally.count() == flood.sent
            assert tally.count(1) == 0


@pytest.mark.parametrize("attach", ["tcx", "tc"])
@pytest.mark.parametrize("name", [SHORT, LONG], ids=["short", "long"])
def test_clean_by_an_alternative_name(pair, link, make_flowd, directory, pin_path, flowd_command, name,
                                      attach):
    altname(pair.near, "add", name)
    daemon = make_flowd(pair.near, base_config(directory, pin_path, interfaces=[Link.NAME, "veth0"],
                                               attach=attach)).start()
    daemon.kill()
    prefix = ["nsenter", f"--net={pair.near.path}"]
    done = flowd_command("-c", daemon.config_path, "clean", "--interface", name, prefix=prefix)
    assert done.returncode == 0, done.stderr
    assert programs(pair.near) == []
    assert len(tcx_programs(pair.near, "veth0") + clsact_filters(pair.near, "veth0")) == 1
    done = flowd_command("-c", daemon.config_path, "clean", "--interface", name + "x", prefix=prefix)
    assert done.returncode == 1 and name + "x" in done.stderr, done


def test_check_knows_alternative_names(pair, link, make_flowd, directory, pin_path, flowd_command):
    """Neither a warning of an interface that is not there nor a mistake; one character more is one."""
    daemon = make_flowd(pair.near, base_config(directory, pin_path, interfaces=[SHORT, LONG]))
    prefix = ["nsenter", f"--net={pair.near.path}"]

    def check():
        daemon.write_config()
        return flowd_command("-c", daemon.config_path, "check", prefix=prefix)

    for name in (SHORT, LONG):
        assert f'"{name}" is not there' in check().stderr
        altname(pair.near, "add", name)
        done = check()
        assert done.returncode == 0 and f'"{name}"' not in done.stderr, done
    daemon.config["backends"]["marker"]["targetInterfaces"] = [LONG + "x"]
    done = check()
    assert done.returncode == 2 and "can't be an interface's name" in done.stderr, done
