# SPDX-License-Identifier: Apache-2.0
"""packaging/helm/flowd: what it renders is what the plain manifests are, and good by the schemas."""

import copy
import json
import shutil

import jsonschema
import pytest
import yaml

from lab.rules_file import RULES
from manifests import (CHART, FORMS, charted, configuration_of, flowd_of, kustomized, one_of, pod_of, problems, rendered, workload)
from test_manifests import checked

SERVICE = {"name": "transfer", "image": "transfer:latest"}
EXPOSED = {"backends": {"prometheus": {"bindAddress": "::"}}}


def values_of(form, **more):
    values = {"mode": form, **copy.deepcopy(more)}
    if form == "sidecar":
        values["sidecar"] = {"containers": [SERVICE], **values.get("sidecar", {})}
    return values


def in_effect(objects):
    """The workload's specification without names, labels and annotations, which the chart has more of."""
    spec = copy.deepcopy(workload(objects)["spec"])
    spec.pop("selector")
    spec["template"].pop("metadata")
    for volume in spec["template"]["spec"]["volumes"]:
        if "configMap" in volume:
            volume["configMap"] = configuration_of(objects) and "the configuration"
    return spec


@pytest.mark.parametrize("form", FORMS)
def test_as_the_manifests(form, directory):
    plain, chart = kustomized(form), charted(values_of(form))
    assert in_effect(chart) == in_effect(plain)
    assert checked(configuration_of(chart), directory) == json.loads(configuration_of(plain))
    labels = workload(chart)["spec"]["template"]["metadata"]["labels"]
    assert workload(chart)["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("form", FORMS)
def test_everything_on(form, directory):
    """Each object passes its schema; the monitor selects the pods, the rules are those of the one file."""
    every = dict(
        podMonitor={"enabled": True, "labels": {"release": "prometheus"}}, prometheusRule={"enabled": True}, dashboard={"enabled": True},
        imagePullSecrets=[{"name": "registry"}], podAnnotations={"a": "b"}, podLabels={"c": "d"}, fullnameOverride="marker",
        seccompProfile={"type": "Localhost", "localhostProfile": "flowd.json"}, image={"repository": "registry.example.org/flowd", "tag": "1"})
    if form == "daemonset":
        every["daemonset"] = {"config": EXPOSED, "affinity": {"nodeAffinity": {}}, "maxUnavailable": "10%",
                              "hostPaths": {"state": "/srv/flowd"}}
    else:
        every["sidecar"] = {"config": EXPOSED, "replicas": 3, "volumes": [{"name": "data", "emptyDir": {}}],
                            "containers": [{**SERVICE, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}
    objects = charted(values_of(form, **every))
    assert sorted(one["kind"] for one in objects) == \
        sorted(["ConfigMap", "ConfigMap", "PodMonitor", "PrometheusRule", workload(objects)["kind"]])
    assert problems(objects) == [""] * len(objects)
    assert one_of(objects, "PrometheusRule")["spec"] == yaml.safe_load(RULES.read_text())
    monitor = one_of(objects, "PodMonitor")["spec"]
    template = workload(objects)["spec"]["template"]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in [port["name"] for port in flowd_of(template["spec"])["ports"]]
    assert {"targetLabel": "job", "replacement": "flowd"} in endpoint["relabelings"]
    assert flowd_of(template["spec"])["image"] == "registry.example.org/flowd:1"
    assert checked(configuration_of(objects), directory)["backends"]["prometheus"]["bindAddress"] == "::"
    if form == "sidecar":
        (service,) = template["spec"]["containers"]
        assert [mount["mountPath"] for mount in service["volumeMounts"]] == ["/data", "/run/flowd.d"]
    dashboards = [one for one in objects if "flowd.json" in one.get("data", {})]
    assert json.loads(dashboards[0]["data"]["flowd.json"])["uid"] == "flowd"


def test_a_changed_configuration_is_another_pod():
    def annotations(label):
        values = values_of("daemonset", daemonset={"config": {"backends": {"marker": {"markingStrategy": label}}}})
        return workload(charted(values))["spec"]["template"]["metadata"]["annotations"]

    assert annotations("label") == annotations("label") != annotations("hopByHop")


def test_probes_follow_the_api():
    values = values_of("daemonset", daemonset={"config": {"plugins": {"api": {"bindAddress": "::", "bindPort": 7000}}}})
    get = flowd_of(pod_of(charted(values)))["readinessProbe"]["httpGet"]
    assert (get["host"], get["port"]) == ("127.0.0.1", 7000)


@pytest.mark.parametrize("api,options", [
    ({}, []), ({"bindPort": 7000}, ["--url", "http://127.0.0.1:7000"]),
    ({"bindAddress": "::1"}, ["--url", "http://[::1]:7777"])])
def test_flowctl_in_probes_follows_the_api(api, options):
    flowd = flowd_of(pod_of(charted(values_of("sidecar", sidecar={"config": {"plugins": {"api": api}}}))))
    for probe, command in (("startupProbe", "ready"), ("readinessProbe", "ready"), ("livenessProbe", "status")):
        assert flowd[probe]["exec"]["command"] == ["/usr/bin/flowctl", *options, command]


@pytest.mark.parametrize("values,words", [
    (values_of("daemonset", podMonitor={"enabled": True}), "daemonset.config.backends.prometheus.bindAddress"),
    ({"mode": "sidecar"}, "sidecar.containers")])
def test_refusals(values, words):
    with pytest.raises(AssertionError, match=words):
        rendered(values)


def test_as_a_dependency(directory):
    """A chart with a pod of its own takes the container and its volumes, and gets no Deployment of this one."""
    values = values_of("sidecar", sidecar={"deployment": False, "containers": []})
    assert [one["kind"] for one in charted(values)] == ["ConfigMap"]
    chart = directory / "chart"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "service.yaml").write_text(
        'initContainers:\n  -\n{{ include "flowd.sidecar" . | indent 4 }}\nvolumes:\n{{ include "flowd.sidecarVolumes" . | indent 2 }}\n')
    service = yaml.safe_load(rendered(values, chart=chart)["service.yaml"])
    pod = pod_of(kustomized("sidecar"))
    assert service["initContainers"] == pod["initContainers"]
    assert [one["name"] for one in service["volumes"]] == [one["name"] for one in pod["volumes"]]


@pytest.mark.parametrize("form", FORMS)
def test_notes(form):
    notes = rendered(values_of(form))["NOTES.txt"]
    assert "flowctl status" in notes and "{{" not in notes and "127.0.0.1:7777" in notes


def merged(values):
    def over(base, more):
        for key, value in more.items():
            base[key] = over(base.get(key, {}), value) if isinstance(value, dict) else value
        return base

    return over(yaml.safe_load((CHART / "values.yaml").read_text()), values)


def test_schema_of_the_values():
    """The standard passes, and each value of values.yaml is one that the schema knows; mistakes are found."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    for form in FORMS:
        jsonschema.validate(merged(values_of(form)), schema)
    for mistake in ({"mode": "deployment"}, {"modes": "sidecar"}, {"image": {"tag": 1}}, {"podMonitor": {"interval": "often"}},
                    {"daemonset": {"config": {"stateDir": "/elsewhere"}}}, {"daemonset": {"hostPaths": {"fifo": "run"}}},
                    {"sidecar": {"config": {"plugins": {"api": {"bindPort": 0}}}}},
                    {"sidecar": {"config": {"plugins": {"api": {"tokenFile": "/var/lib/flowd/tokens"}}}}},
                    {"sidecar": {"config": {"plugins": {"namedPipe": {"pipePath": "/run/flowd"}}}}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(merged(mistake), schema)
    given = yaml.safe_load((CHART / "values.yaml").read_text())
    assert given.keys() == schema["properties"].keys() - {"global"}
    for name, inside in schema["properties"].items():
        wanted = inside.get("properties", {}).keys() - {"localhostProfile"}
        assert not wanted or given[name].keys() == wanted, name
