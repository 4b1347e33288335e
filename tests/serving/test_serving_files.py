"""The files in serving/: what TensorFlow Serving and the clusters would read in them."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from keras_cmsa.export.gate import SERVER

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "serving"
yaml = pytest.importorskip("yaml")
text_format = pytest.importorskip("google.protobuf.text_format")


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
    """Its fields are those of TensorFlow Serving's BatchingParameters, which no wheel has."""
    text = (SERVING / "batching.config").read_text()
    numbers = dict(re.findall(r"^(\w+) \{ value: (\d+) \}$", text, re.MULTILINE))
    assert set(numbers) == {
        "max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads",
    }  # fmt: skip
    sizes = [int(size) for size in re.findall(r"^allowed_batch_sizes: (\d+)$", text, re.MULTILINE)]
    # TensorFlow Serving wants them rising, and the last to be the largest batch.
    assert sizes == sorted(sizes) and sizes[-1] == int(numbers["max_batch_size"])


def test_monitoring_config():
    text = (SERVING / "monitoring.config").read_text()
    pattern = r'prometheus_config \{\s+enable: true,?\s+path: "(.+)",?\s+\}\s*'
    (path,) = re.fullmatch(pattern, re.sub("#.*\n", "", text)).groups()
    deployment, *_ = yaml.safe_load_all((SERVING / "kubernetes.yaml").read_text())
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == path


def test_compose_and_kubernetes_start_the_same_server():
    compose = yaml.safe_load((SERVING / "compose.yaml").read_text())["services"]["cmsa"]
    deployment, service, scaler = yaml.safe_load_all((SERVING / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == compose["image"] == f"tensorflow/serving:{SERVER}.0"
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


# Of KServe's V1beta1InferenceService, V1beta1InferenceServiceSpec, V1beta1PredictorSpec,
# V1beta1ModelSpec and V1beta1ModelFormat (https://github.com/kserve/kserve, python/kserve/docs): what
# such a file may say of a server of one model.
KSERVE = {
    "": "apiVersion kind metadata spec",
    "spec": "explainer predictor transformer",
    "spec.predictor": "annotations containerConcurrency labels maxReplicas minReplicas model scaleMetric "
    "scaleTarget serviceAccountName timeout tolerations volumes",
    "spec.predictor.model": "args command env image livenessProbe modelFormat name ports "
    "protocolVersion readinessProbe resources runtime runtimeVersion startupProbe storage storageUri "
    "volumeMounts workingDir",
    "spec.predictor.model.modelFormat": "name version",
}


def test_kserve_starts_the_same_server():
    kserve = yaml.safe_load((SERVING / "kserve.yaml").read_text())
    for place, fields in KSERVE.items():
        found = kserve
        for name in filter(None, place.split(".")):
            found = found[name]
        assert set(found) <= set(fields.split()), place
    assert (kserve["apiVersion"], kserve["kind"]) == (
        "serving.kserve.io/v1beta1",
        "InferenceService",
    )
    predictor = kserve["spec"]["predictor"]
    model = predictor["model"]
    assert model["runtimeVersion"] == f"{SERVER}.0"
    deployment, _, scaler = yaml.safe_load_all((SERVING / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert kserve["metadata"]["name"] == deployment["metadata"]["name"] == "cmsa"
    assert set(model["args"]) < set(container["args"])
    assert model["resources"]["requests"] == container["resources"]["requests"]
    assert model["resources"]["limits"].items() >= container["resources"]["limits"].items()
    models, config = pod["volumes"]
    claim = models["persistentVolumeClaim"]["claimName"]
    assert model["storageUri"] == f"pvc://{claim}/cmsa"
    assert predictor["volumes"] == [config]
    assert model["volumeMounts"] == [x for x in container["volumeMounts"] if x["name"] == "config"]
    for name in ("minReplicas", "maxReplicas"):
        assert predictor[name] == scaler["spec"][name]


def test_triton_config():
    """Its fields are those of Triton's ModelConfig; one that is misspelt is refused."""
    pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    text = (SERVING / "triton/config.pbtxt").read_text()
    config = text_format.Parse(text, pb2.ModelConfig())
    assert (config.backend, config.default_model_filename) == ("onnxruntime", "network.onnx")
    assert config.HasField("dynamic_batching")
    batching = (SERVING / "batching.config").read_text()
    assert f"max_batch_size {{ value: {config.max_batch_size} }}" in batching
    delay = config.dynamic_batching.max_queue_delay_microseconds
    assert f"batch_timeout_micros {{ value: {delay} }}" in batching
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text.replace("default_model", "model"), pb2.ModelConfig())


def test_smoke_says_that_it_is_skipped(tmp_path):
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([SERVING / "smoke.sh"], capture_output=True, text=True, env=path)
    assert done.returncode == 0 and "SKIPPED, nothing was tested" in done.stderr
