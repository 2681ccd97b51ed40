# SPDX-License-Identifier: Apache-2.0
"""
The manifests of packaging/kubernetes and what the chart renders, as objects; and what is wrong with such
objects by Kubernetes' schemas. Tools that are built or fetched for that lie in the tests' cache.
"""

import functools
import json
import os
import pathlib
import shutil
import subprocess

import yaml

ROOT = pathlib.Path(__file__).parents[2]
KUBERNETES = ROOT / "packaging" / "kubernetes"
CHART = ROOT / "packaging" / "helm" / "flowd"
COMPOSE = ROOT / "packaging" / "container" / "compose.yaml"
FORMS = ("daemonset", "sidecar")
CACHE = pathlib.Path(os.environ.get("FLOWD_TEST_CACHE", "/var/tmp/flowd-test")) / "deploy"
TOOL_S = 300


def run(argv, **options):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TOOL_S, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, argv))}: {done.stdout}{done.stderr}"
    return done.stdout


def kustomized(form):
    """The objects that `kubectl apply -k` would send."""
    return [one for one in yaml.safe_load_all(run(["kubectl", "kustomize", KUBERNETES / form])) if one]


@functools.cache
def renderer():
    CACHE.mkdir(parents=True, exist_ok=True)
    program = CACHE / "render"
    run(["go", "build", "-o", program, "render.go"], cwd=ROOT / "test" / "deploy" / "render",
        env={**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(CACHE / "go")})
    return program


def rendered(values, name="flowd", namespace="flowd", chart=CHART):
    """File name to text of each template of the chart; the error as an AssertionError."""
    path = CACHE / f"values-{os.getpid()}.json"
    renderer()
    try:
        path.write_text(json.dumps(values))
        return json.loads(run([renderer(), chart, name, namespace, path]))
    finally:
        path.unlink(missing_ok=True)


def charted(values, **options):
    """The objects that Helm would send, NOTES.txt left out."""
    return [one for name, text in rendered(values, **options).items() if name.endswith(".yaml")
            for one in yaml.safe_load_all(text) if one]


@functools.cache
def _schemas():
    """Where the schemas are: npm's packages in the versions and with the hashes of the lock file."""
    place, here = CACHE / "schemas", ROOT / "test" / "deploy" / "schemas"
    place.mkdir(parents=True, exist_ok=True)
    lock = (here / "package-lock.json").read_text()
    fetched = place / "fetched-lock.json"
    for name in ("package.json", "package-lock.json", "validate.mjs"):
        shutil.copy(here / name, place)
    if not fetched.exists() or fetched.read_text() != lock:
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=place)
        fetched.write_text(lock)
    return place


def problems(objects):
    """What is wrong with each of the objects; "" for nothing."""
    found = json.loads(run(["node", "validate.mjs"], cwd=_schemas(), input=json.dumps(objects)))
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
