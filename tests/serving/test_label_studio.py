"""The ML backend in Label Studio's own JSON: masks, phrases, the table, and what is refused."""

import io
import json
import re
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import command
import numpy as np
import pytest
import tiny
from file_server import FileServer
from image_files import encoded, large_png
from label_studio_project import CONFIG, predict_request, region, webhook_request

from keras_cmsa.data.brush import decode_brush
from keras_cmsa.data.masks import run_lengths
from keras_cmsa.data.readers.split_files import hold_out
from keras_cmsa.data.readers.table import read_table
from keras_cmsa.data.writers import Interface
from keras_cmsa.serving import label_studio, label_studio_images
from keras_cmsa.serving.collected_table import CollectedTable
from keras_cmsa.serving.label_studio import Backend, build_app
from keras_cmsa.serving.label_studio_images import Images

PHOTO = "/data/upload/3/photo.png"


@pytest.fixture
def uploads(photo, tmp_path):
    """Label Studio's folder of uploads, with a photo of 31 x 47 pixels."""
    (tmp_path / "upload/3").mkdir(parents=True)
    (tmp_path / "upload/3/photo.png").write_bytes(encoded(photo))
    (tmp_path / "secret.png").write_bytes(encoded(photo))
    return tmp_path / "upload"


@pytest.fixture
def collected(tmp_path):
    return CollectedTable(tmp_path / "collected")


@pytest.fixture
def client(predictor, uploads, collected):
    with client_of(Backend(predictor, "cmsa-1", Images(uploads), collected)) as client:
        yield client


def client_of(backend):
    pytest.importorskip("httpx")
    testing = pytest.importorskip("fastapi.testclient")
    hosts = [*label_studio.LOOPBACK, "testserver"]
    return testing.TestClient(build_app(backend, hosts), raise_server_exceptions=True)


def refused(client, route, body, status=400):
    answer = client.post(route, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_health_and_setup(client):
    for route in ("/", "/health"):
        assert client.get(route).json() == {"status": "UP", "model_class": "cmsa-1"}
    # The address and the token that a request brings are not those that the server was told.
    body = {"project": "3.17", "hostname": "http://other.example", "access_token": "x"}
    assert client.post("/setup", json={**body, "schema": CONFIG}).json() == {
        "model_version": "cmsa-1"
    }
    for schema, error in (
        ("<View><Image name='i' value='$i'/></View>", "with Image, BrushLabels and a Label"),
        ("<View>", "interface in XML. Received: no element found"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "Received: a DOCTYPE"),
        (None, "wanted 'schema' of type str"),
    ):
        assert error in refused(client, "/setup", {**body, "schema": schema})


def test_the_masks_of_the_predictor_come_back(client, predictor, photo, spied):
    phrases, calls = ["red box", "blue box on the left"], spied(type(predictor), "__call__")
    request = predict_request((PHOTO, "\n".join(phrases)))
    (answer,) = client.post("/predict", json=request).json()["results"]
    assert [asked for *_, asked in calls] == [phrases]  # one pass over the image
    expected = predictor(photo, phrases)
    assert [p.mask.any() for p in expected] == [True, True]
    assert answer["model_version"] == "cmsa-1"
    assert answer["score"] == pytest.approx(np.mean([p.score for p in expected]))
    parts = iter(answer["result"])
    for prediction, brush, text in zip(expected, parts, parts):
        assert (brush["type"], brush["from_name"], brush["to_name"]) == (
            "brushlabels", "mask", "image",
        )  # fmt: skip
        assert (brush["original_height"], brush["original_width"]) == (31, 47)
        assert brush["value"]["brushlabels"] == ["object"]
        mask = decode_brush(brush["value"]["rle"], 31, 47, "it")
        np.testing.assert_array_equal(mask, prediction.mask)
        assert brush["score"] == pytest.approx(prediction.score)
        assert (text["id"], text["value"]) == (brush["id"], {"text": [prediction.expression]})


def test_what_a_person_types_is_asked_in_the_place_of_the_text(client):
    request = predict_request((PHOTO, "red box\nblue box"), typed=["box on the left"])
    (answer,) = client.post("/predict", json=request).json()["results"]
    texts = [part["value"]["text"] for part in answer["result"] if part["type"] == "textarea"]
    assert texts == [["box on the left"]]
    # The text of a region that is there already is not asked.
    request["params"]["context"]["result"][0]["from_name"] = "phrase"
    (answer,) = client.post("/predict", json=request).json()["results"]
    assert len(answer["result"]) == 4


def test_tasks_without_a_phrase_get_nothing_and_each_task_an_answer(client):
    results = client.post(
        "/predict", json=predict_request((PHOTO, ""), (PHOTO, "box"), (PHOTO, None))
    ).json()["results"]
    assert [len(x["result"]) for x in results] == [0, 2, 0]
    assert client.post("/predict", json=predict_request()).json() == {"results": []}


def test_a_request_that_label_studio_sent(client, samples):
    """A point was clicked and no phrase typed: there is nothing to ask, and no image is fetched."""
    path = samples / "formats/label_studio/sbatchelder__predict_request_keypoint.json"
    (answer,) = client.post("/predict", json=json.loads(path.read_bytes())).json()["results"]
    assert answer == {"model_version": "cmsa-1", "score": 0.0, "result": []}


def test_predictions_are_let_go_one_by_one(predictor, photo):
    """A hundred phrases about a large photo would keep gigabytes."""
    predictions = predictor(photo, ["red box", "blue box", "box"])
    kept = [weakref.ref(prediction) for prediction in predictions]
    for number, _ in enumerate(label_studio.drained(predictions), 1):
        assert [alive() is not None for alive in kept] == [n >= number - 1 for n in range(3)]
    assert number == 3 and not predictions


def test_a_phrase_that_fits_nothing_has_no_region():
    nothing = SimpleNamespace(mask=np.zeros((3, 3), bool), expression="box", score=0.0)
    assert not list(label_studio.drained([nothing]))


def test_images_from_elsewhere_are_refused(client, uploads):
    for image, error in (
        ("/data/upload/../../secret.png", "wanted a path inside"),
        ("/data/upload/%2e%2e/secret.png", "wanted a path inside"),
        ("/data/upload//etc/passwd", "wanted a path inside"),
        ("/data/local-files/?d=../secret.png", "wanted a path inside"),
        ("/data/local-files/?d=", "wanted a path inside"),
        ("/etc/passwd", "wanted a path inside"),
        ("3/photo.png", "wanted a path inside"),
        ("http://other.example/data/upload/3/photo.png", "wanted an image of"),
        ("//other.example/data/upload/3/photo.png", "wanted an image of"),
        ("file:///data/upload/3/photo.png", "wanted an image of"),
        ("s3://bucket/photo.png", "wanted an image of"),
        ("http://[/photo.png", "Invalid IPv6 URL"),
        ("/data/upload/3/none.png", "none.png: No such file"),
        ("/data/upload/3/a\0b.png", "wanted a path inside"),
    ):
        assert error in refused(client, "/predict", predict_request((image, "box"))), image
    local = predict_request(("/data/local-files/?d=3%2Fphoto.png", "box"))
    assert client.post("/predict", json=local).status_code == 200


def test_large_images_and_requests_are_refused(client, uploads, monkeypatch):
    (uploads / "3/vast.png").write_bytes(large_png(8000, 5000))
    request = predict_request(("/data/upload/3/vast.png", "box"))
    assert "1 to 30,000,000 pixels" in refused(client, "/predict", request)
    many = predict_request((PHOTO, "\n".join(f"box {i}" for i in range(101))))
    assert "at most 100 phrases. Received: 101" in refused(client, "/predict", many)
    many = predict_request(*[(PHOTO, "")] * 101)
    assert "at most 100 tasks. Received: 101" in refused(client, "/predict", many)
    monkeypatch.setattr(label_studio_images, "MAX_FILE", 1000)
    request = predict_request((PHOTO, "box"))
    assert "at most 1,000 bytes" in refused(client, "/predict", request)
    body = json.dumps({"schema": "x" * label_studio.MAX_BODY})
    headers = {"content-type": "application/json"}
    assert client.post("/setup", content=body, headers=headers).status_code == 413


def test_bad_requests_have_a_reason(client, capsys):
    good = predict_request((PHOTO, "box"))
    for change, error in (
        ({"label_config": None}, "wanted 'label_config' of type str"),
        ({"tasks": {}}, "wanted 'tasks' of type list"),
        ({"tasks": [3]}, "wanted a dict. Received: int"),
        ({"tasks": [{"data": {"text": "box"}}]}, "wanted 'image' of type str"),
        ({"params": {"context": {"result": 3}}}, "wanted 'result' of type list"),
        ({"params": {"context": {"result": [3]}}}, "wanted 'result' of type dict. Received: int"),
        ({"params": {"context": {"result": [{"type": "textarea"}]}}}, "wanted 'value'"),
        ({"tasks": [{"data": {"text": "!", "image": PHOTO}}]}, "at least one word"),
    ):
        assert error in refused(client, "/predict", {**good, **change})
    for content, kind in (
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"{}", "text/plain"),
    ):
        answer = client.post("/predict", content=content, headers={"content-type": kind})
        assert answer.status_code == 400 and "wanted an object in JSON" in answer.json()["error"]
    assert "keras-cmsa: predict: wanted 'label_config'" in capsys.readouterr().err
    # A name of somebody else's that leads to this machine.
    assert client.get("/health", headers={"host": "other.example:9090"}).status_code == 400


def test_images_of_the_tools_address_come_with_the_token(photo, monkeypatch):
    pytest.importorskip("httpx")
    content, path = encoded(photo), "/data/upload/3/a%20b.png?x=1"
    with FileServer(**{path[1:]: content}) as server:
        server.authorization, address = "Token t0ken", server.url
        server.status["/moved?"] = 302
        server.headers["/moved?"] = {"Location": "http://other.example/photo.png"}
        images = Images(address=f"{address}/", token="t0ken")
        for source in (path, f"{address}{path}"):
            assert images.read(source).read() == content
        assert server.asked == [(path, None)] * 2
        foreign = (
            "http://other.example/a.png",
            f"{address}@other.example/a.png",
            "https" + address[4:],
        )
        for source in foreign:
            with pytest.raises(ValueError, match="wanted an image of http://127"):
                images.read(source)
        with pytest.raises(ValueError, match="Received: status 302 of Label Studio"):
            images.read("/moved")
        with pytest.raises(ValueError, match="with this token. Received: status 401"):
            Images(address=address, token="other").read(path)
        assert len(server.asked) == 4
        monkeypatch.setattr(label_studio_images, "MAX_FILE", 1000)
        with pytest.raises(ValueError, match="at most 1,000 bytes"):
            images.read(path)
    with pytest.raises(ValueError, match="wanted the image http://127") as error:
        images.read(path)
    assert "t0ken" not in str(error.value)


def test_one_place_of_images(tmp_path):
    for place, error in (
        ({}, "Received: neither"),
        ({"folder": tmp_path, "address": "http://localhost:8080"}, "Received: both"),
        ({"folder": tmp_path / "none"}, "`images` must be a folder"),
        ({"address": "localhost:8080", "token": "x"}, "`label_studio` must be an address"),
        ({"address": "ftp://localhost", "token": "x"}, "`label_studio` must be an address"),
        ({"address": "http://a@b", "token": "x"}, "`label_studio` must be an address"),
        ({"address": "http://localhost:8080"}, "give `token`"),
        ({"address": "http://localhost:8080", "token": ""}, "give `token`"),
    ):
        with pytest.raises(ValueError, match=error):
            Images(**place)


def records_in(collected):
    return read_table(collected.folder / "table.csv")


ONE, OTHER = tiny.box(31, 47, 3, 4, 20, 30), tiny.box(31, 47, 25, 0, 31, 9)


def test_an_annotation_becomes_rows_of_the_table(client, collected, photo):
    request = webhook_request(
        PHOTO, "red box\nthe zebra",
        region(ONE, "red box"), region(OTHER, "box on the left", "small box"), region(OTHER, "red box"),
        region(0 * ONE, "erased"),
    )  # fmt: skip
    answer = client.post("/webhook", json=request)
    assert (answer.status_code, answer.json()) == (201, {"status": "collected", "rows": 4})
    assert command.run("prepare", collected.folder / "table.csv") == 0
    (records,) = records_in(collected).values()
    assert [(r.raw, r.split, r.targets) for r in records] == [
        ("red box", "train", 1), ("the zebra", "train", 0),
        ("box on the left", "train", 1), ("small box", "train", 1),
    ]  # fmt: skip
    for record, mask in zip(records, (ONE | OTHER, 0 * ONE, OTHER, OTHER)):
        np.testing.assert_array_equal(record.mask(), mask)
        np.testing.assert_array_equal(record.image(), photo)


def test_an_annotation_that_is_mended_takes_its_own_place(client, collected, photo, uploads):
    photo = photo.copy()
    for number in range(12):
        photo[0, 0] = number
        (uploads / f"3/{number}.png").write_bytes(encoded(photo))
        image = f"/data/upload/3/{number}.png"
        request = webhook_request(image, "box", region(ONE), number=number)
        assert client.post("/webhook", json=request).status_code == 201
    mended = webhook_request(
        "/data/upload/3/1.png", "box", region(OTHER, "the red box"), number=1,
        action="ANNOTATION_UPDATED",
    )  # fmt: skip
    for _ in range(2):  # the tool may send a webhook again
        assert client.post("/webhook", json=mended).json()["rows"] == 2
    records = records_in(collected)
    images = {split: {r.image_path for r in of} for split, of in records.items()}
    assert len(images["train"]) + len(images["val"]) == 12
    names = {f"images/{path.name}": path for of in images.values() for path in of}
    assert images["val"] == {names[name] for name in hold_out(names)}
    records = [record for of in records.values() for record in of]
    last = [record for record in records if record.image()[0, 0].tolist() == [1, 1, 1]]
    assert len(records) == 13
    assert [(r.raw, r.targets) for r in last] == [("box", 0), ("the red box", 1)]
    np.testing.assert_array_equal(last[1].mask(), OTHER)


def test_what_is_no_annotation_is_left(client, collected, predictor, uploads):
    for request in (
        webhook_request(PHOTO, "box", region(ONE), action="TASKS_CREATED"),
        webhook_request(PHOTO, "box", region(ONE), was_cancelled=True),
    ):
        assert client.post("/webhook", json=request).json() == {"status": "ignored"}
    assert not (collected.folder / "table.csv").exists()
    with client_of(Backend(predictor, "m", Images(uploads))) as other:
        request = webhook_request(PHOTO, "box", region(ONE))
        assert other.post("/webhook", json=request).json() == {"status": "ignored"}


def test_annotations_that_are_refused_leave_the_table(client, collected):
    good = webhook_request(PHOTO, "red box", region(ONE, "red box"))
    assert client.post("/webhook", json=good).status_code == 201
    before = (collected.folder / "table.csv").read_bytes()
    damaged = region(ONE, "box")
    damaged[0]["value"]["rle"] = damaged[0]["value"]["rle"][:-9]
    number = region(ONE, "box")
    number[0]["value"]["rle"] = 10**15
    polygon = [{**region(ONE, "box")[0], "type": "polygonlabels"}]
    turned = [{**part, "image_rotation": 90} for part in region(ONE, "box")]
    for request, error in (
        (webhook_request(PHOTO, "", region(ONE)), "wanted a phrase for each region"),
        (webhook_request(PHOTO, "a\nb", region(ONE)), "wanted a phrase for each region"),
        (webhook_request(PHOTO, "", region(ONE, "!")), "wanted an expression with a word"),
        (
            webhook_request(PHOTO, "", region(ONE.T, "box")),
            "31 x 47 (height x width). Received: 47",
        ),
        (webhook_request(PHOTO, "", damaged), "code to the end"),
        (webhook_request(PHOTO, "", number), "as a list of integers"),
        (webhook_request(PHOTO, "box", polygon), "regions of a brush. Received: 'polygonlabels'"),
        (webhook_request(PHOTO, "", turned), "wanted 'image_rotation' 0. Turn the image"),
        (webhook_request("/data/upload/../x", "", region(ONE, "box")), "wanted a path inside"),
        (webhook_request(PHOTO, "", region(ONE, "box"), id="x"), "wanted 'id' of type int"),
        ({"action": "ANNOTATION_CREATED"}, "wanted 'annotation' of type dict"),
        ({}, "wanted 'action' of type str"),
    ):
        assert error in refused(client, "/webhook", request)
    assert (collected.folder / "table.csv").read_bytes() == before


def take_diagonal(collected, photo, annotation, k=0):
    mask = run_lengths(np.eye(4, k=k, dtype="uint8"))
    CollectedTable(collected.folder).take(annotation, io.BytesIO(encoded(photo)), {"x": [mask]})


def test_several_processes_write_one_table(collected, photo):
    """Each reads it again before it writes."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(partial(take_diagonal, collected, photo), range(24)))
    assert {row["annotation"] for row in collected.rows()} == {str(n) for n in range(24)}


def test_a_kill_leaves_rows_with_their_own_masks(collected, photo, monkeypatch):
    take_diagonal(collected, photo, 7)
    before = {path: path.read_bytes() for path in collected.folder.rglob("*") if path.is_file()}
    with monkeypatch.context() as patched, pytest.raises(OSError, match="killed"):
        killed = Mock(side_effect=OSError("killed"))
        patched.setattr("keras_cmsa.serving.collected_table.write_rows", killed)
        take_diagonal(collected, photo, 7, k=1)
    assert before.items() <= {path: path.read_bytes() for path in before}.items()
    take_diagonal(collected, photo, 7, k=1)
    (row,) = collected.rows()
    masks = [path.relative_to(collected.folder) for path in collected.folder.glob("masks/*")]
    assert masks == [Path(row["mask"])] and collected.folder / masks[0] not in before


def test_a_folder_with_another_table_is_refused(tmp_path):
    (tmp_path / "table.csv").write_text("my,own\n1,2\n")
    with pytest.raises(ValueError, match="wanted each of the columns image, expression"):
        CollectedTable(tmp_path)


def test_what_is_served(monkeypatch, capsys):
    """On loopback the server answers to its own names, elsewhere to any."""
    uvicorn, calls = pytest.importorskip("uvicorn"), []
    monkeypatch.setattr(label_studio, "build_app", lambda backend, hosts: hosts)
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: calls.append((app, options)))
    label_studio.serve(None)
    label_studio.serve(None, "0.0.0.0", 7000)
    assert [(hosts, o["host"], o["port"]) for hosts, o in calls] == [
        (label_studio.LOOPBACK, "127.0.0.1", 9090), (["*"], "0.0.0.0", 7000),
    ]  # fmt: skip
    assert "keras-cmsa serve-label-studio: http://127.0.0.1:9090" in capsys.readouterr().out


def test_the_interface_of_the_page_has_the_names_of_imports():
    page = (Path(__file__).parents[2] / "docs/label_tools.md").read_text("utf-8")
    (config,) = re.findall(r"    <View>\n.*?    </View>", page, re.DOTALL)
    assert label_studio.interface_of(config) == Interface()
