# SPDX-License-Identifier: Apache-2.0
"""The container image: what is in it, the list of what it is made of, and its archive."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

from lab.flowd_process import BIN_DIR

CONTAINER = pathlib.Path(__file__).resolve().parents[2] / "packaging/container"
FILES = {
    "etc/flowd/config.json", "etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "usr/bin/flowctl",
    "usr/sbin/flowd", "usr/share/doc/flowd/LICENSE", "usr/share/doc/flowd/sbom.spdx.json",
}


def run(*argv):
    done = subprocess.run([str(one) for one in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stdout


@pytest.fixture
def root(directory):
    run(CONTAINER / "rootfs", BIN_DIR.parent, directory / "root")
    return directory / "root"


def test_what_is_in_it(root):
    assert {str(one.relative_to(root)) for one in root.rglob("*") if not one.is_dir()} == FILES
    assert [one for one in root.rglob("*") if one.is_symlink() or one.stat().st_mode & 0o6022] == []
    run("chroot", root, "/usr/sbin/flowd", "check")


def test_list_of_what_is_inside(root):
    """Members that SPDX 2.3 wants, their form, and the versions that dpkg has."""
    document = json.loads((root / "usr/share/doc/flowd/sbom.spdx.json").read_text())
    assert (document["spdxVersion"], document["dataLicense"]) == ("SPDX-2.3", "CC0-1.0")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", document["documentNamespace"])
    assert re.fullmatch(r"\d{4}(-\d\d){2}T(\d\d:){2}\d\dZ", document["creationInfo"]["created"])
    assert document["creationInfo"]["creators"][0].startswith("Tool: ")
    packages = {one["SPDXID"]: one for one in document["packages"]}
    assert len(packages) == len(document["packages"])
    for identifier, one in packages.items():
        assert re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", identifier) and one["name"] and one["downloadLocation"]
        for reference in one.get("externalRefs", ()):
            assert re.fullmatch(r"pkg:(deb|generic)/[^ ]+@[^ ]+", reference["referenceLocator"])
    ends = {one[name] for one in document["relationships"] for name in ("spdxElementId", "relatedSpdxElement")}
    assert ends == {"SPDXRef-DOCUMENT", *packages}
    versions = {one["name"]: one["versionInfo"] for one in packages.values()}
    for name in ("libc6-dev", "libbpf-dev", "libssl-dev", "libc-ares-dev", "libjansson-dev", "libyaml-dev"):
        assert versions[name] == run("dpkg-query", "-W", "-f", "${Version}", name)
    assert "curl" in versions and "flowd" in versions


def test_archive(root, directory):
    """Engines' tools read it by either format; it holds the root file system; and it is the same when made again."""
    archives = [directory / name for name in ("one.tar", "two.tar")]
    for archive in archives:
        run(CONTAINER / "image", root, archive)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    version = run(root / "usr/sbin/flowd", "version").split()[1]
    assert run("skopeo", "list-tags", f"docker-archive:{archives[0]}").count(f"flowd:{version}") == 1
    for kind in ("docker-archive", "oci-archive"):
        shown = json.loads(run("skopeo", "inspect", f"{kind}:{archives[0]}"))
        assert shown["Os"] == "linux" and shown["Labels"]["org.opencontainers.image.title"] == "flowd"
        assert shown["Labels"]["org.opencontainers.image.version"] == version
        config = json.loads(run("skopeo", "inspect", "--config", "--raw", f"{kind}:{archives[0]}"))["config"]
        assert config["Entrypoint"] == ["/usr/sbin/flowd"] and list(config["Volumes"]) == ["/var/lib/flowd"]
        assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/flowctl", "ready"]
        copied, unpacked = directory / kind, directory / f"{kind}-unpacked"
        run("skopeo", "copy", "--insecure-policy", f"{kind}:{archives[0]}", f"dir:{copied}")
        unpacked.mkdir()
        shutil.unpack_archive(copied / shown["Layers"][0].removeprefix("sha256:"), unpacked, "tar")
        run("diff", "-r", root, unpacked)
