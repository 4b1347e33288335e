"""The client and an exported model on a server with TensorFlow Serving's interfaces."""

import base64
import io
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tiny
from image_files import bomb, encoded
from PIL import Image

from keras_cmsa.serving.client import Client, ServerError, Unavailable

requests = pytest.importorskip("requests")

PROTOCOLS = ("http", "grpc")
DOCS = Path(__file__).parents[2] / "docs/serving.md"


@pytest.fixture(scope="module")
def server(exported):
    pytest.importorskip("tensorflow_serving")
    from serving_server import Server

    with Server(exported) as running:
        yield running


@pytest.fixture(params=PROTOCOLS)
def client(server, request):
    with Client(server.urls[request.param], attempts=1, timeout=120) as client:
        yield client


def test_round_trip_gives_the_predictors_mask(predictor, client, photo, tmp_path):
    """Whatever door an image comes in by, alone and in a batch."""
    expected = predictor(photo, tiny.SENTENCES)
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    images = [photo, path, str(path), path.read_bytes()]
    for answer, prediction in zip(client.segment(images, tiny.SENTENCES), expected, strict=True):
        assert answer.valid
        np.testing.assert_array_equal(answer.mask, prediction.mask)
        assert answer.score == pytest.approx(prediction.score, abs=1e-5)
        assert answer.words == prediction.tokens
        np.testing.assert_allclose(answer.word_attention, prediction.word_attention, atol=1e-5)
        np.testing.assert_allclose(
            answer.box * [47, 31, 47, 31], prediction.box or (0,) * 4, atol=1e-4
        )
    alone = client.segment(path, tiny.SENTENCES[0])
    np.testing.assert_array_equal(alone.mask, expected[0].mask)
    assert client.segment([], []) == []


def test_bad_rows_leave_the_server_and_their_neighbours(predictor, client, photo):
    good = encoded(photo, "JPEG")
    rows = [
        (good[: len(good) // 2], "red box"),
        (bytes(range(256)), "red box"),
        (b"a red box", "red box"),
        (bomb(), "red box"),
        (good, ""),
        (good, "red box " * 1250),
        (good, "x" * 10_000),
        (good, "🟥 box 👈"),
        (good, "הקופסה האדומה"),
        (good, "red box"),
    ]
    files, expressions = map(list, zip(*rows))
    answers = client.segment(files, expressions)
    assert [answer.valid for answer in answers] == [False] * 6 + [True] * 4
    assert not any(answer.mask.any() or answer.score for answer in answers[:6])
    expected = predictor(good, "red box").mask
    np.testing.assert_array_equal(answers[-1].mask, expected)
    assert answers[-2].words == ["[UNK]"] * 2 and answers[-3].words == ["box"]


def test_the_servers_own_message(server, client):
    with pytest.raises(ServerError, match="must have the same length"):
        client.protocol.predict([b"x", b"y"], ["red box"])
    for protocol in PROTOCOLS:
        for options in ({"model": "other"}, {"version": 7}):
            with Client(server.urls[protocol], attempts=1, **options) as other:
                with pytest.raises(ServerError, match="Servable not found") as error:
                    other.segment(b"x", "red box")
                assert not isinstance(error.value, Unavailable)
    assert not client.segment(b"x", "red box").valid


def test_answers_beyond_4_mb(client):
    """Noise would do; here the size of the request, which the same limit of gRPC holds for."""
    large = np.random.default_rng(0).integers(0, 256, (1300, 1300, 3)).astype("uint8")
    file = encoded(large)
    assert len(file) > 4 * 2**20
    assert client.segment(file, "red box").mask.shape == (1300, 1300)


def test_rest_in_rows_and_in_columns(server, photo):
    url = f"{server.urls['http']}/v1/models/cmsa"
    assert requests.get(url, timeout=60).json()["model_version_status"][0]["state"] == "AVAILABLE"
    image = {"b64": base64.b64encode(encoded(photo)).decode()}
    rows = {"instances": [{"image_bytes": image, "expression": e} for e in tiny.SENTENCES]}
    columns = {"inputs": {"image_bytes": [image] * 4, "expression": tiny.SENTENCES}}
    by_row = requests.post(f"{url}:predict", json=rows, timeout=60).json()["predictions"]
    by_column = requests.post(f"{url}/versions/1:predict", json=columns, timeout=60).json()
    for i, row in enumerate(by_row):
        assert set(row) == set(by_column["outputs"])
        assert row["mask_png_bytes"] == by_column["outputs"]["mask_png_bytes"][i]
        png = base64.b64decode(row["mask_png_bytes"]["b64"])
        assert Image.open(io.BytesIO(png)).size == (47, 31)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"instances": []}',
        b'{"inputs": {"image_bytes": "text", "expression": ["red box"]}}',
        b'{"inputs": {"image_bytes": [{"b64": "*"}], "expression": ["red box"]}}',
        b'{"inputs": {"expression": ["red box"]}}',
        b'{"inputs": {"image_bytes": [1], "expression": [2]}}',
        json.dumps({"signature_name": "other", "inputs": {}}).encode(),
    ],
)
def test_bad_requests_are_answered(server, photo, body):
    url = f"{server.urls['http']}/v1/models/cmsa:predict"
    reply = requests.post(url, data=body, timeout=60)
    assert reply.status_code == 400 and reply.json()["error"]


def test_text_in_the_image_field(server):
    url = f"{server.urls['http']}/v1/models/cmsa:predict"
    row = {"image_bytes": "a photo", "expression": "red box"}
    reply = requests.post(url, json={"instances": [row]}, timeout=60)
    assert reply.status_code == 200 and reply.json()["predictions"][0]["valid"] is False


def test_a_server_that_is_not_there_is_asked_again():
    import socket

    with socket.socket() as taken:  # bound and not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for protocol in PROTOCOLS:
            with Client(f"{protocol}://127.0.0.1:{port}", attempts=2, timeout=5) as client:
                with mock.patch.object(
                    client.protocol, "predict", side_effect=client.protocol.predict
                ) as predict:
                    with pytest.raises(Unavailable):
                        client.segment(b"x", "red box")
                assert predict.call_count == 2


@pytest.mark.parametrize("url", ["localhost:8501", "ftp://host", "http://", "grpc:"])
def test_urls(url):
    with pytest.raises(ValueError, match="url must be"):
        Client(url)


def test_an_image_per_expression(client):
    for images in (b"x", "x", [b"x"]):
        with pytest.raises(ValueError, match="an image for each expression"):
            client.segment(images, ["red box", "blue box"])


def test_the_example_of_the_docs(predictor, server, photo, tmp_path, monkeypatch):
    blocks = [part.split("```")[0] for part in DOCS.read_text("utf-8").split("```python\n")[1:]]
    (code,) = [block for block in blocks if "Client(" in block]
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("photo.jpg")
    found = {}
    code = code.replace("http://localhost:8501", server.urls["http"])
    exec(code.replace("man in yellow shirt", "red box"), found)
    assert found["answer"].valid
    np.testing.assert_array_equal(found["answer"].mask, predictor("photo.jpg", "red box").mask)


def test_without_the_libraries(monkeypatch):
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-cmsa\[client\]"'):
        Client("http://localhost:8501")
