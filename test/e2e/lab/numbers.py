# SPDX-License-Identifier: Apache-2.0
"""The numbers in a JSON document, each under its path."""


def numbers(value, path=""):
    """Every number in a JSON value with its path; objects in lists go by their kind and name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            names = [inner[key] for key in ("kind", "name") if key in inner] if isinstance(inner, dict) else []
            yield from numbers(inner, ".".join([path, *(names or [str(number)])]))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value
