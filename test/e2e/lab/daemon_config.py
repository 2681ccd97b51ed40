# SPDX-License-Identifier: Apache-2.0
"""The configuration that most tests begin with."""


def base_config(place, pin_path=None, interfaces=("veth0",), **marker):
    """Fifo and API in, marker (where there is a pin path) out; tests add and take away."""
    config = {
        "stateDir": str(place / "state"),
        "log": {"level": "info"},
        "plugins": {
            "namedPipe": {"pipePath": str(place / "fifo")},
            "api": {"bindAddress": "127.0.0.1", "bindPort": 7777},
        },
        "backends": {},
    }
    if pin_path is not None:
        config["backends"]["marker"] = {
            "targetInterfaces": list(interfaces), "pinPath": str(pin_path), **marker}
    return config
