# SPDX-License-Identifier: Apache-2.0
"""packaging/kubernetes and the compose file: good by their schemas, with configurations that flowd takes."""

import json
import pathlib
import re
import subprocess

import pytest
import yaml

from lab.flowd_process import FLOWD
from lab.waiting import DEADLINE_S
from manifests import (COMPOSE, FORMS, KUBERNETES, configuration_of, flowd_of, kustomized, one_of, pod_of,
                       problems, run, workload)

CAPABILITIES = ["BPF", "PERFMON", "NET_ADMIN"]


def checked(text, directory):
    """What `flowd check` says of a configuration, which may not have a mistake."""
    path = directory / "config.json"
    path.write_text(text)
    done = subprocess.run([FLOWD, "-c", path, "check"], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(text)


@pytest.mark.parametrize("form", FORMS)
def test_schemas(form):
    objects = kustomized(form)
    assert len(objects) == 3
    assert problems(objects) == ["", "", ""]


def test_schemas_find_mistakes():
    """An unknown member deep inside, one of the wrong type, and a kind that there is not."""
    objects = kustomized("daemonset")
    flowd_of(pod_of(objects))["securityContext"]["readonlyRootFilesystem"] = True
    (found,) = [one for one in problems(objects) if one]
    assert "readonlyRootFilesystem" in found
    objects = kustomized("daemonset")
    pod_of(objects)["hostNetwork"] = "yes"
    assert [one for one in problems(objects) if "hostNetwork" in one]
    workload(objects)["kind"] = "DemonSet"
    assert [one for one in problems(objects) if "DemonSet" in one]


@pytest.mark.parametrize("form", FORMS)
def test_rights(form):
    """As few as flowd works with, and no more; a namespace that lets the pod in."""
    objects = kustomized(form)
    pod = pod_of(objects)
    assert flowd_of(pod)["securityContext"] == {
        "runAsUser": 0, "runAsGroup": 0, "privileged": False, "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"], "add": CAPABILITIES}}
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    labels = one_of(objects, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"
    assert {one["metadata"].get("namespace", one["metadata"]["name"]) for one in objects} == \
        {one_of(objects, "Namespace")["metadata"]["name"]}
    paths = [volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume]
    assert paths == (["/var/lib/flowd", "/run/flowd.d", "/sys/fs/bpf"] if form == "daemonset" else [])
    assert pod.get("hostNetwork", False) == (form == "daemonset")


@pytest.mark.parametrize("form", FORMS)
def test_configuration(form, directory):
    """flowd takes it, its paths are mounted, and its ports are those of the probes and of the scrape."""
    objects = kustomized(form)
    config = checked(configuration_of(objects), directory)
    container = flowd_of(pod_of(objects))
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    fifo = pathlib.PurePosixPath(config["plugins"]["namedPipe"]["pipePath"])
    pins = config["backends"]["marker"].get("pinPath")
    wanted = {config["stateDir"], str(fifo.parent)} | ({str(pathlib.PurePosixPath(pins).parent)} if pins else set())
    assert writable == wanted
    # The AppArmor profile of containers lets nobody write there, and no test here has it.
    assert not [path for path in writable if path.startswith(("/sys/", "/proc/"))]
    assert [port["containerPort"] for port in container["ports"]] == [config["backends"]["prometheus"]["port"]]
    api = config["plugins"]["api"]
    for kind in ("livenessProbe", "readinessProbe"):
        get = container[kind].get("httpGet")
        assert get is None if form == "sidecar" else (get["host"], get["port"]) == (api["bindAddress"], api["bindPort"])
    assert api["bindAddress"] == "127.0.0.1"
    if form == "daemonset":
        # A rolling update takes one pod away before it starts the next, and marks stay meanwhile.
        assert config["backends"]["marker"]["onExit"] == "keep"
        update = workload(objects)["spec"]["updateStrategy"]
        assert (update["type"], update["rollingUpdate"]["maxSurge"]) == ("RollingUpdate", 0)


def test_sidecar_shares_the_fifo():
    pod = pod_of(kustomized("sidecar"))
    (service,) = pod["containers"]
    shared = {mount["name"]: mount["mountPath"] for mount in flowd_of(pod)["volumeMounts"]}
    assert [shared[mount["name"]] for mount in service["volumeMounts"]] == \
        [mount["mountPath"] for mount in service["volumeMounts"]] == ["/run/flowd.d"]
    assert flowd_of(pod) in pod["initContainers"] and flowd_of(pod)["restartPolicy"] == "Always"


def test_compose():
    """What docker-compose makes of it: the rights, mounts and image are the DaemonSet's."""
    service = yaml.safe_load(run(["docker-compose", "-f", COMPOSE, "config"]))["services"]["flowd"]
    pod = pod_of(kustomized("daemonset"))
    container = flowd_of(pod)
    assert (service["cap_drop"], service["cap_add"]) == (["ALL"], container["securityContext"]["capabilities"]["add"])
    assert service["read_only"] and service["network_mode"] == "host" and service["user"] == "0:0"
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["image"] == container["image"] and "entrypoint" not in service and "healthcheck" not in service
    mounts = dict(one.split(":")[:2] for one in service["volumes"])
    (config,) = [source for source, target in mounts.items() if target == "/etc/flowd/config.json"]
    assert pathlib.Path(config) == KUBERNETES / "daemonset" / "config.json"
    targets = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    paths = {volume["hostPath"]["path"]: targets[volume["name"]] for volume in pod["volumes"] if "hostPath" in volume}
    assert {source: target for source, target in mounts.items() if source != config} == paths


def test_the_image_starts_as_the_manifests_do():
    """Its program and that program's own configuration, which the compose file leaves to it."""
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.*)$", (COMPOSE.parent / "Dockerfile").read_text(), re.MULTILINE)
    for form in FORMS:
        assert flowd_of(pod_of(kustomized(form)))["command"] == [*json.loads(entrypoint), "-c", "/etc/flowd/config.json"]
