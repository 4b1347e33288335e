"""The files in serving/: what TensorFlow Serving and the clusters would read in them."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "serving"
yaml = pytest.importorskip("yaml")
text_format = pytest.importorskip("google.protobuf.text_format")


def message(name, fields):
    """A message class of the given fields, by name -> (type, label), made on the spot.

    The wheel of tensorflow-serving-api leaves out `BatchingParameters` (session_bundle_config.proto)
    and `MonitoringConfig` (monitoring_config.proto); these are the fields that our files use.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="test")
    file.dependency.append(wrappers.name)
    kind = descriptor_pb2.FieldDescriptorProto
    inner = file.message_type.add(name="PrometheusConfig")
    inner.field.add(name="enable", number=1, type=kind.TYPE_BOOL, label=1)
    inner.field.add(name="path", number=2, type=kind.TYPE_STRING, label=1)
    outer = file.message_type.add(name=name)
    for number, (field, type_name) in enumerate(fields.items(), 1):
        if type_name == "repeated int64":
            outer.field.add(name=field, number=number, type=kind.TYPE_INT64, label=3)
        else:
            outer.field.add(
                name=field, number=number, type=kind.TYPE_MESSAGE, type_name=type_name, label=1
            )
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))


def test_models_config():
    pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    text = (SERVING / "models.config").read_text()
    config = text_format.Parse(text, pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("cmsa", "/models/cmsa")
    assert model.model_version_policy.latest.num_versions == 2
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text.replace("base_path", "base_paths"), pb2.ModelServerConfig())


def test_batching_config():
    number = ".google.protobuf.Int64Value"
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    fields = {**dict.fromkeys(names, number), "allowed_batch_sizes": "repeated int64"}
    config = message("BatchingParameters", fields)()
    text_format.Parse((SERVING / "batching.config").read_text(), config)
    sizes = list(config.allowed_batch_sizes)
    # TensorFlow Serving wants them rising, and the last to be the largest batch.
    assert sizes == sorted(sizes) and sizes[-1] == config.max_batch_size.value


def test_monitoring_config():
    config = message("MonitoringConfig", {"prometheus_config": ".test.PrometheusConfig"})()
    text_format.Parse((SERVING / "monitoring.config").read_text(), config)
    assert config.prometheus_config.enable
    deployment, *_ = yaml.safe_load_all((SERVING / "kubernetes.yaml").read_text())
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == config.prometheus_config.path


def test_compose_and_kubernetes_start_the_same_server():
    compose = yaml.safe_load((SERVING / "compose.yaml").read_text())["services"]["cmsa"]
    deployment, service, scaler = yaml.safe_load_all((SERVING / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == compose["image"]
    assert set(container["args"]) <= set(compose["command"])
    configs = {a.split("=/config/")[1] for a in compose["command"] if "=/config/" in a}
    assert configs == {path.name for path in SERVING.glob("*.config")}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {port["name"]: port["port"] for port in service["spec"]["ports"]}
    assert {f"127.0.0.1:{port}:{port}" for port in ports.values()} == set(compose["ports"])
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/cmsa", "port": "rest"}
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    for volume in compose["volumes"]:
        source = (SERVING / volume.split(":")[0]).resolve()
        assert source in (SERVING, ROOT / "saved_models/cmsa")


def test_smoke_says_that_it_is_skipped(tmp_path):
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([SERVING / "smoke.sh"], capture_output=True, text=True, env=path)
    assert done.returncode == 0 and "SKIPPED, nothing was tested" in done.stderr
