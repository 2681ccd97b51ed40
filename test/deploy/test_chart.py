# SPDX-License-Identifier: Apache-2.0
"""packaging/helm/flowd: what it renders is what the plain manifests are, and good by the schemas."""

import copy
import json
import pathlib
import re
import shutil
import textwrap

import pytest
import yaml

from lab.rules_file import RULES
from manifests import (CHART, FORMS, HELMS, ROOT, charted, configuration_of, flowd_of, helm, helm_package, kustomized, notes, one_of,
                       pod_of, problems, workload)
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
        charted(values)


@pytest.mark.parametrize("form", FORMS)
def test_extras_and_placement(form):
    """A file and a variable of the site in flowd's container, and its pod where it is wanted."""
    volume, mount = {"name": "registry", "configMap": {"name": "scitags"}}, {"name": "registry", "mountPath": "/etc/scitags", "readOnly": True}
    variable = {"name": "SSL_CERT_FILE", "value": "/etc/scitags/ca.pem"}
    placement = {"priorityClassName": "high", "nodeSelector": {"role": "dtn"}, "tolerations": [{"key": "dtn", "operator": "Exists"}],
                 "affinity": {"nodeAffinity": {}}}
    values = values_of(form, extraVolumes=[volume], extraVolumeMounts=[mount], extraEnv=[variable], serviceAccountName="marker",
                       **{form: {**placement, "resources": {"limits": {"memory": "1Gi"}}}})
    objects, plain = charted(values), pod_of(charted(values_of(form)))
    assert problems(objects) == [""] * len(objects)
    pod = pod_of(objects)
    flowd = flowd_of(pod)
    assert flowd["volumeMounts"] == flowd_of(plain)["volumeMounts"] + [mount] and pod["volumes"] == plain["volumes"] + [volume]
    assert flowd["env"] == [variable] and flowd["resources"]["limits"] == {"memory": "1Gi"}
    placement["nodeSelector"] = {**plain.get("nodeSelector", {}), "role": "dtn"}  # objects are merged
    assert {name: pod[name] for name in placement} == placement and pod["serviceAccountName"] == "marker"
    for container in pod["containers"]:
        assert container is flowd or ("env" not in container and mount not in container["volumeMounts"])


def test_the_example_of_the_manual(directory):
    """Its values give a configuration that flowd takes, whose registry is mounted."""
    (example,) = re.findall(r"^    extraVolumes:.*\n(?:    .*\n)*", (ROOT / "docs" / "containers.md").read_text(), re.MULTILINE)
    objects = charted(yaml.safe_load(textwrap.dedent(example)))
    assert problems(objects) == [""] * len(objects)
    config = checked(configuration_of(objects), directory)
    places = [mount["mountPath"] for mount in flowd_of(pod_of(objects))["volumeMounts"]]
    assert str(pathlib.PurePosixPath(config["registry"]["path"]).parent) in places


def test_as_a_dependency(directory):
    """A chart with a pod of its own takes the container and its volumes as the manual says, and gets no Deployment of this one."""
    chart = directory / "transfer"
    (chart / "templates").mkdir(parents=True)
    shutil.copytree(CHART, chart / "charts" / "flowd")
    (chart / "Chart.yaml").write_text(yaml.safe_dump({
        "apiVersion": "v2", "name": "transfer", "version": "1.0.0", "dependencies": [{"name": "flowd", "version": ">=0-0"}]}))
    (chart / "templates" / "pod.yaml").write_text(
        'kind: Service\ninitContainers:\n  -\n{{ include "flowd.sidecar" .Subcharts.flowd | indent 4 }}\n'
        'volumes:\n{{ include "flowd.sidecarVolumes" .Subcharts.flowd | indent 2 }}\n')
    objects = charted({"flowd": values_of("sidecar", sidecar={"deployment": False, "containers": []})}, name="transfer", chart=chart)
    assert sorted(one["kind"] for one in objects) == ["ConfigMap", "Service"]
    service, pod = one_of(objects, "Service"), pod_of(kustomized("sidecar"))
    assert service["initContainers"] == pod["initContainers"]
    assert [one["name"] for one in service["volumes"]] == [one["name"] for one in pod["volumes"]]
    assert service["volumes"][0]["configMap"]["name"] == one_of(objects, "ConfigMap")["metadata"]["name"]


@pytest.mark.parametrize("release", HELMS)
def test_lint_and_archive(release, directory):
    """Helm finds nothing to complain about; the archive that is published renders what the folder does, files that are links too."""
    helm(release, "lint", "--strict", CHART)
    helm_package(release, directory)
    (archive,) = directory.glob("flowd-*.tgz")
    values = values_of("daemonset", prometheusRule={"enabled": True}, dashboard={"enabled": True})
    assert charted(values, chart=archive) == charted(values)


@pytest.mark.parametrize("form", FORMS)
def test_notes(form):
    said = notes(values_of(form))
    assert "flowctl status" in said and "127.0.0.1:7777" in said and "pod-security.kubernetes.io/enforce" in said
    assert ("onExit" in said) == (form == "daemonset")


@pytest.mark.parametrize("mistake", [
    {"mode": "deployment"}, {"modes": "sidecar"}, {"image": {"tag": 1}}, {"podMonitor": {"interval": "often"}},
    {"extraVolumes": [{"hostPath": {"path": "/srv"}}]}, {"extraVolumeMounts": [{"name": "a", "mountPath": "srv"}]}, {"extraEnv": {"A": "b"}},
    {"daemonset": {"config": {"stateDir": "/elsewhere"}}}, {"daemonset": {"hostPaths": {"fifo": "run"}}},
    {"sidecar": {"tolerations": {}}},
    {"sidecar": {"config": {"plugins": {"api": {"bindPort": 0}}}}},
    {"sidecar": {"config": {"plugins": {"api": {"tokenFile": "/var/lib/flowd/tokens"}}}}},
    {"sidecar": {"config": {"plugins": {"namedPipe": {"pipePath": "/run/flowd"}}}}}], ids=json.dumps)
def test_values_that_are_refused(mistake):
    for release in HELMS:
        with pytest.raises(AssertionError, match="don't meet the specifications of the schema"):
            helm(release, "template", "flowd", CHART, values=mistake)


def test_schema_of_the_values():
    """Each value of values.yaml is one that the schema knows, and the other way round."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    given = yaml.safe_load((CHART / "values.yaml").read_text())
    assert given.keys() == schema["properties"].keys() - {"global"}
    for name, inside in schema["properties"].items():
        wanted = inside.get("properties", {}).keys() - {"localhostProfile"}
        assert not wanted or given[name].keys() == wanted, name
