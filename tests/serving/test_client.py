"""The client and an exported model on a server with TensorFlow Serving's interfaces."""

import base64
import contextlib
import json
import socket
import socketserver
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from image_files import bomb, encoded
from PIL import Image

from keras_cmsa.serving.client import Client, ServerError, Unavailable

httpx = pytest.importorskip("httpx")

PROTOCOLS = ("http", "grpc")
DOCS = Path(__file__).parents[2] / "docs/serving.md"


@pytest.fixture(params=PROTOCOLS)
def client(server, request):
    with Client(server.urls[request.param], attempts=1, timeout=120) as client:
        yield client


def check(answer, prediction):
    assert answer.valid and answer.words == prediction.tokens
    np.testing.assert_array_equal(answer.mask, prediction.mask)
    assert answer.score == pytest.approx(prediction.score, abs=1e-5)
    np.testing.assert_allclose(answer.word_attention, prediction.word_attention, atol=1e-5)
    box = answer.box * (prediction.mask.shape[::-1] * 2)
    np.testing.assert_allclose(box, prediction.box or (0,) * 4, atol=1e-4)


def test_round_trip_gives_the_predictors_mask(predictor, client, photo, tmp_path):
    """Whatever door an image comes in by, alone and in a batch."""
    expected = predictor(photo, tiny.SENTENCES)
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    images = [photo, path, str(path), path.read_bytes()]
    for answer, prediction in zip(client.segment(images, tiny.SENTENCES), expected, strict=True):
        check(answer, prediction)
    alone = client.segment(path, tiny.SENTENCES[0])
    np.testing.assert_array_equal(alone.mask, expected[0].mask)
    assert client.segment([], []) == [] == client.segment(path, [])


def test_many_sentences_about_one_photo_are_one_request(predictor, client, photo, spied):
    """To the signature that shares the image's work; a bad one among them harms no other."""
    sent = spied(client.protocol, "predict")
    answers = client.segment(photo, [*tiny.SENTENCES, "?!"])
    assert [signature for signature, *_ in sent] == ["segment_many"]
    assert not answers.pop().valid
    for answer, prediction in zip(answers, predictor(photo, tiny.SENTENCES), strict=True):
        check(answer, prediction)


def test_bad_rows_leave_the_server_and_their_neighbours(predictor, client, photo):
    good = encoded(photo, "JPEG")
    rows = [
        (good[: len(good) // 2], "red box"),
        (bomb(), "red box"),
        (good, ""),
        (good, "הקופסה האדומה"),
        (good, "red box"),
    ]
    answers = client.segment(*map(list, zip(*rows)))
    assert [answer.valid for answer in answers] == [False] * 3 + [True] * 2
    assert not any(answer.mask.any() or answer.score for answer in answers[:3])
    np.testing.assert_array_equal(answers[4].mask, predictor(good, "red box").mask)
    assert answers[3].words == ["[UNK]"] * 2


def test_the_servers_own_message(server, client):
    with pytest.raises(ServerError, match="as many rows of expressions"):
        client.protocol.predict(
            "serving_default", {"image_bytes": [b"x", b"y"], "expression": ["red box"]}
        )
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


def test_a_server_that_is_not_there_is_asked_again(spied):
    with socket.socket() as taken:  # bound and not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for protocol in PROTOCOLS:
            with Client(f"{protocol}://127.0.0.1:{port}", attempts=2, timeout=5) as client:
                asked = spied(client.protocol, "predict")
                with pytest.raises(Unavailable):
                    client.segment(b"x", "red box")
                assert len(asked) == 2


# --- a server that is broken or hostile


class Misbehaving(socketserver.TCPServer):
    """An HTTP server that answers its n-th connection by `answers[n]`, the last for all that follow.

    An answer is bytes, or a list of bytes that are sent one after the other, a moment apart.
    """

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), None)
        self.answers = answers
        self.asked = []  # the requests, as bytes
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()

    def finish_request(self, request, _):
        self.asked.append(read_request(request))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        with contextlib.suppress(OSError):  # the client has left, as it should
            for piece in [answer] if isinstance(answer, bytes) else answer:
                request.sendall(piece)
                time.sleep(0.05 * (piece is not answer))


def read_request(connection):
    """A request with its whole body."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(65536)
    head, _, body = found.partition(b"\r\n\r\n")
    (length,) = [int(x[15:]) for x in head.lower().split(b"\r\n") if x[:15] == b"content-length:"]
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def http(body, status="200 OK", **headers):
    """An HTTP answer; its header promises `length` bytes, or as many as there are."""
    length = headers.pop("length", len(body))
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def one_answer(**columns):
    """A right answer for one row, some columns of which are replaced."""
    mask = base64.b64encode(encoded(np.zeros((2, 3), "uint8"))).decode()
    right = {
        "mask_png_bytes": [{"b64": mask}],
        "score": [0.0],
        "box": [[0, 0, 0, 0]],
        "words": [["box", ""]],
        "exists": [True],
        "valid": [True],
    }
    return http(json.dumps({"outputs": {**right, **columns}}).encode())


def ask(server, attempts=1, timeout=20, user=""):
    with Client(f"http://{user}{server.host}", attempts=attempts, timeout=timeout) as client:
        return client.segment(b"a photo", "red box")


def drip(content, size=1):
    return [content[start : start + size] for start in range(0, len(content), size)]


@pytest.mark.parametrize(
    "answer",
    [
        drip(one_answer()),
        [one_answer()[:-9], *[b" "] * 400],
        [b"HTTP/1.1 200 OK\r\n", *[b"X: 1\r\n"] * 99],
    ],
    ids=["from its first byte", "in its body", "its headers"],
)
def test_a_drip_ends_at_the_time_limit(answer):
    """Each byte comes in time, the whole answer does not."""
    with Misbehaving(answer) as server:
        started = time.monotonic()
        with pytest.raises(ServerError, match=r"no whole answer within 0\.4 s") as error:
            ask(server, attempts=3, timeout=0.4)
        assert time.monotonic() - started < 2
    assert not isinstance(error.value, Unavailable) and len(server.asked) == 1


def test_a_slow_answer_within_the_time_limit_is_taken():
    with Misbehaving(drip(one_answer(), 100)) as server:
        assert ask(server).mask.shape == (2, 3)


@pytest.mark.parametrize("cut", [1, 60, -5], ids=["status", "headers", "body"])
def test_an_answer_that_is_cut_short_is_asked_for_again(cut):
    whole = one_answer()
    with Misbehaving(whole[:cut], b"", whole) as server:
        answer = ask(server, attempts=4)
    assert answer.valid and answer.words == ["box"] and len(server.asked) == 3
    with Misbehaving(whole[:cut]) as server:
        with pytest.raises(Unavailable, match=server.host):
            ask(server, attempts=2)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        http(b"<html>a proxy's page</html>"),
        http(b"{}"),
        http(b"[" * 100_000),
        http(b'{"outputs": [1]}'),
        one_answer(mask_png_bytes=[]),
        one_answer(mask_png_bytes=[str(DOCS.with_name("found_1.png"))]),
        one_answer(mask_png_bytes=[{"b64": "*"}]),
        one_answer(mask_png_bytes=[{"b64": "AAAA"}]),
        one_answer(mask_png_bytes=[{"b64": base64.b64encode(bomb()).decode()}]),
        one_answer(score=[0.5, 0.5]),
        one_answer(box=[[1, 2]]),
        one_answer(words=3),
        one_answer(word_attention=[[]]),
        http(b"not gzip", **{"Content-Encoding": "gzip"}),
    ],
    ids=lambda answer: answer.partition(b"\r\n\r\n")[2][-25:].decode("latin-1"),
)
def test_what_is_no_answer_is_said_to_be_none(answer):
    with Misbehaving(answer) as server:
        with pytest.raises(ServerError, match=f"{server.host}.* Received: ") as error:
            ask(server, attempts=3)
    assert not isinstance(error.value, Unavailable) and len(server.asked) == 1
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_photo_is_not_sent_on_to_another_host(status):
    with Misbehaving(one_answer()) as other:
        location = f"http://me:secret@{other.host}/v1/models/cmsa:predict"
        with Misbehaving(http(b"", status, Location=location)) as server:
            with pytest.raises(ServerError, match=f"sends on to .*{other.host}.* url") as error:
                ask(server, attempts=3)
    assert other.asked == [] and len(server.asked) == 1 and "secret" not in str(error.value)


def test_a_password_is_sent_and_not_shown():
    user = "me:a%20secret@"
    refusals = [
        http(b"", "503 Busy"),
        http(b"{}"),
        http(b"", "307 Moved", Location="/elsewhere"),
        b"HTTP",
        [b"HTTP/1.1 200 OK\r\n"] * 40,
    ]
    for refusal in refusals:
        with Misbehaving(refusal) as server:
            with pytest.raises(ServerError) as error:
                ask(server, timeout=0.5, user=user)
            assert "secret" not in str(error.value), error.value
        sent = base64.b64encode(b"me:a secret")
        assert b"authorization: basic " + sent.lower() in server.asked[0].lower()


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8501",
        "ftp://me:secret@host",
        "me:secret@host:8501",
        "http://me:secret/1@host:8501",
        "http://me:secret@host:port",
        "http://me:secret@[::1",
        "grpc://me:secret@host:8500",
        "http://host:8501/\0",
        "http://",
    ],
)
def test_urls(url):
    with pytest.raises(ValueError, match=r"url must be .* Received: ") as error:
        Client(url)
    assert "secret" not in str(error.value)


def test_an_image_per_expression(client):
    with pytest.raises(ValueError, match="an expression for each image .* 1 images, 2 expressions"):
        client.segment([b"x"], ["red box", "blue box"])


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
