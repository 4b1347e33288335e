"""The SavedModel: the same answers as the predictor, wherever it is loaded."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from image_files import bomb, encoded, mask_of
from PIL import Image

tf = pytest.importorskip("tensorflow")

# All of TensorFlow's core. What Python or a library of its own would have to run is not among them.
ALLOWED_OPS = set(
    """
    AddN AddV2 All Any Assert AssignVariableOp AvgPool BatchMatMulV2 BiasAdd BroadcastGradientArgs
    BroadcastTo Case Cast ConcatV2 Const Conv2D Cumsum DecodeBmp DecodeGif DecodeJpeg DecodePng
    DecodeRaw DenseBincount DisableCopyOnRead Einsum EncodePng EnsureShape Equal Exp ExpandDims Fill
    FloorDiv FloorMod GatherV2 Greater GreaterEqual HashTableV2 Identity IdentityN If
    IgnoreErrorsDataset InitializeTableFromTextFileV2 LeftShift Less LessEqual LogicalAnd LogicalNot
    LogicalOr LookupTableFindV2 LowerBound MapDataset MatMul Max MaxPool Maximum Mean
    MergeV2Checkpoints Min Minimum Mul Neg NoOp NotEqual OneHot Pack Pad PadV2 PartitionedCall
    Placeholder Prod RaggedRange RaggedTensorToTensor Range ReadVariableOp RealDiv ReduceDataset
    Relu Reshape ResizeBilinear RestoreV2 ReverseV2 RightShift Round Rsqrt SaveV2 Select SelectV2
    Shape ShardedFilename Sigmoid Size Slice Softmax Split Sqrt Square Squeeze
    StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile StaticRegexFullMatch
    StopGradient StridedSlice StridedSliceGrad StringJoin StringLength StringSplitV2 Sub Substr Sum
    Tanh TensorDataset TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem
    TensorListStack Tile Transpose UnicodeDecode UnicodeEncode Unpack UpperBound VarHandleOp
    VarIsInitializedOp Where While ZerosLike
    """.split()
)


@pytest.fixture(scope="session")
def served(exported):
    """The function behind `serving_default`, with the rest of the SavedModel kept alive."""
    loaded = tf.saved_model.load(str(exported[2]))

    def call(files, expressions, signature="serving_default"):
        answer = loaded.signatures[signature](
            image_bytes=tf.constant(files, tf.string),
            expression=tf.constant(expressions, tf.string),
        )
        return {name: x.numpy() for name, x in answer.items()}

    return call


def test_the_layout(exported):
    _, vocabulary, path = exported
    assert path.name == "1" and [p.name for p in path.parent.iterdir()] == ["1"]
    left = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
    assert left == {
        "saved_model.pb",
        "fingerprint.pb",
        "assets/vocabulary.txt",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "model_card.json",
        "model_card.md",
        "assets.extra/tf_serving_warmup_requests",
    }
    words = (path / "assets/vocabulary.txt").read_text(encoding="utf-8")
    assert words.split("\n") == [*vocabulary.words, ""]
    facts = json.loads((path / "model_card.json").read_text())
    assert facts["vocabulary_size"] == len(vocabulary) and facts["image_size"] == tiny.SIZE
    assert "| Words per expression N | 5 |" in (path / "model_card.md").read_text()


def test_probabilities_are_those_of_the_pipeline(exported, served, photo, tmp_path):
    """From files, through the pipeline that trains, and from their bytes."""
    from keras_cmsa.data.pipeline import RecordBatches

    model, vocabulary, _ = exported
    records = tiny.records(tmp_path, 5)
    batches = RecordBatches(records, vocabulary, tiny.SIZE, 5)
    inputs, _ = batches[0]
    logits = np.asarray(model.predict(inputs, verbose=0))[..., 0]
    files = [record.image_path.read_bytes() for record in records]
    answer = served(files, [record.expression for record in records])
    np.testing.assert_allclose(answer["probabilities"], 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert answer["valid"].all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_answers_are_the_predictors(exported, served, photo, kind):
    from keras_cmsa import Predictor

    model, vocabulary, _ = exported
    predictor = Predictor(model, vocabulary)
    files = [encoded(x, kind) for x in (photo, photo[:20], photo[:, :9], photo[:7, :8])]
    answer = served(files, tiny.SENTENCES)
    shares = [mask_of(png).mean() for png in answer["mask_png_bytes"]]
    assert sum(0 < share < 1 for share in shares) >= 2
    for row, prediction in enumerate(predictor(files, tiny.SENTENCES)):
        mask = mask_of(answer["mask_png_bytes"][row])
        np.testing.assert_array_equal(mask, prediction.mask)
        assert answer["score"][row] == pytest.approx(prediction.score, abs=1e-5)
        height, width = mask.shape
        box = answer["box"][row] * [width, height, width, height]
        np.testing.assert_allclose(box, prediction.box, atol=1e-4)
        tokens = [word.decode() for word in answer["words"][row] if word]
        assert tokens == prediction.tokens
        np.testing.assert_allclose(
            answer["word_attention"][row][:, : len(tokens)], prediction.word_attention, atol=1e-5
        )
    heat = served(files, tiny.SENTENCES, "heatmap")
    assert heat["valid"].all()
    for row, prediction in enumerate(predictor(files, tiny.SENTENCES)):
        np.testing.assert_allclose(
            heat["position_attention"][row], prediction.position_attention, atol=1e-5
        )


def test_the_predictor_loads_it(exported, photo):
    from keras_cmsa import Predictor

    model, vocabulary, path = exported
    ours, loaded = Predictor(model, vocabulary), Predictor.load(path)
    assert loaded.vocabulary == vocabulary and loaded.vocabulary.max_words == tiny.WORDS
    for one, other in zip(ours(photo, tiny.SENTENCES), loaded(photo, tiny.SENTENCES), strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)
        np.testing.assert_allclose(one.word_attention, other.word_attention, atol=1e-5)
        np.testing.assert_allclose(one.position_attention, other.position_attention, atol=1e-5)


def test_a_bad_row_harms_no_other(served, photo):
    good = encoded(photo, "JPEG")
    alone = served([good], ["red box"])
    rows = {
        "a JPEG cut short": (good[: len(good) // 2], "red box"),
        "no image": (b"\x00\x01\x02" * 50, "red box"),
        "text": ("a red box", "red box"),
        "nothing": (b"", "red box"),
        "too large": (bomb(), "red box"),
        "no expression": (good, ""),
        "no word": (good, "?! 👍"),
        "a text": (good, "red box " * 1250),
        "not UTF-8": (good, b"\xff\xfe"),
    }
    files, expressions = zip(*rows.values())
    answer = served([good, *files, good], ["red box", *expressions, "red box"])
    assert answer["valid"].tolist() == [True] + [False] * len(rows) + [True]
    for row in (0, -1):
        np.testing.assert_allclose(
            answer["probabilities"][row], alone["probabilities"][0], atol=1e-6
        )
        assert answer["mask_png_bytes"][row] == alone["mask_png_bytes"][0]
    for name in ("probabilities", "score", "box", "word_attention"):
        assert not answer[name][1:-1].any(), name
    sizes = [mask_of(png).shape for png in answer["mask_png_bytes"][1:-1]]
    assert sizes == [(tiny.SIZE, tiny.SIZE)] * 5 + [photo.shape[:2]] * 4
    assert not any(mask_of(png).any() for png in answer["mask_png_bytes"][1:-1])


@pytest.mark.parametrize("expression", ["x" * 10_000, "🟥 box 👈", "הקופסה האדומה", "red\0box"])
def test_strange_expressions_are_answered(served, photo, expression):
    answer = served([encoded(photo)], [expression])
    assert answer["valid"].all() and np.isfinite(answer["probabilities"]).all()


def test_batches_of_nothing_and_of_different_lengths(served, photo):
    answer = served([], [])
    assert {name: x.shape[0] for name, x in answer.items()} == dict.fromkeys(answer, 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be as many"):
        served([encoded(photo)] * 2, ["red box"])


# --- Where it is loaded


def signature_of(path, name="serving_default"):
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    return proto.meta_graphs[0].signature_def[name]


def c_library(path, requests, folder):
    """Answers of `serving_default` from TensorFlow's C library, peaks of memory: see `c_library.py`.

    Or None and the error.
    """
    signature = signature_of(path)
    feeds = [
        {
            signature.inputs[name].name: [base64.b64encode(row).decode() for row in rows]
            for name, rows in request.items()
        }
        for request in requests
    ]
    fetch = {name: info.name for name, info in signature.outputs.items()}
    (folder / "request.json").write_text(json.dumps({"feeds": feeds, "fetch": fetch}))
    library = Path(tf.__file__).with_name("libtensorflow_cc.so.2")
    done = subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name("c_library.py"),
            library,
            path,
            folder / "request.json",
            folder / "answer.json",
        ],
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode:
        return None, done.stderr
    found = json.loads((folder / "answer.json").read_text())
    answers = [{name: from_json(x) for name, x in one.items()} for one in found["answers"]]
    return answers, found["peaks"]


def from_json(answer):
    if isinstance(answer["data"], list):
        texts = [base64.b64decode(text) for text in answer["data"]]
        return np.array(texts, object).reshape(answer["shape"])
    kind = {1: "float32", 10: "bool"}[answer["type"]]
    return np.frombuffer(base64.b64decode(answer["data"]), kind).reshape(answer["shape"])


def test_the_c_library_gives_the_same(exported, served, photo, tmp_path):
    """The loader of TensorFlow Serving, in a process that imports no TensorFlow and no Keras."""
    good = encoded(photo, "JPEG")
    rows = [good, good[:300], b"text", encoded(photo), encoded(photo[:9], "GIF"), bomb(), good]
    expressions = [*tiny.SENTENCES, tiny.SENTENCES[0], "red box", ""]
    requests = [
        {"image_bytes": rows, "expression": [e.encode() for e in expressions]},
        {"image_bytes": [good], "expression": [b"red box"]},
    ]
    answers, errors = c_library(exported[2], requests, tmp_path)
    assert answers, errors
    for request, answer in zip(requests, answers, strict=True):
        expected = served(request["image_bytes"], request["expression"])
        assert set(answer) == set(expected)
        for name, rows in expected.items():
            if rows.dtype == object:
                np.testing.assert_array_equal(answer[name], rows, name)
            else:
                np.testing.assert_allclose(answer[name], rows, atol=1e-6, err_msg=name)
    assert answers[0]["valid"].tolist() == [True, False, False, True, True, False, False]


def test_an_image_of_400_million_pixels_takes_no_memory(exported, photo, tmp_path):
    """It would take 1.2 GB: its size is read from its header, and nothing is decoded."""
    files = [encoded(photo), bomb()]
    requests = [{"image_bytes": [file], "expression": [b"red box"]} for file in files]
    answers, (usual, peak) = c_library(exported[2], requests, tmp_path)
    assert [answer["valid"].tolist() for answer in answers] == [[True], [False]]
    assert peak - usual < 50e6


def test_the_c_library_refuses_an_operation_of_another_library(exported, tmp_path):
    import shutil

    from tensorflow.core.protobuf import saved_model_pb2

    path = tmp_path / "1"
    shutil.copytree(exported[2], path)
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    functions = proto.meta_graphs[0].graph_def.library.function
    changed = [node for f in functions for node in f.node_def if node.op == "UnicodeDecode"]
    assert changed
    for node in changed:
        node.op = "FastUnicodeDecode"
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    signature = signature_of(path)
    assert set(signature.inputs) == {"image_bytes", "expression"}
    answers, errors = c_library(path, [], tmp_path)
    assert answers is None and "FastUnicodeDecode" in errors


def test_an_artefact_of_word_pieces(tmp_path, photo):
    """Same rules, same predictor; and the C library alone, which lacks its operation, refuses it."""
    pytest.importorskip("tensorflow_text")
    from keras_cmsa import Predictor
    from keras_cmsa.export import export_saved_model
    from keras_cmsa.text import WordPieces

    pieces = [*"redbluox", *(f"##{letter}" for letter in "redbluox"), "red"]
    vocabulary = WordPieces(dict.fromkeys(pieces), tiny.WORDS)
    model = tiny.shaken(tiny.model(words=len(vocabulary)), np.random.default_rng(5))
    path = export_saved_model(model, vocabulary, tmp_path / "cmsa")
    assert json.loads((path / "model_card.json").read_text())["tokenizer"] == "wordpiece"
    loaded = tf.saved_model.load(str(path))
    sentence = "red box"
    answer = loaded.signatures["serving_default"](
        image_bytes=tf.constant([encoded(photo)]), expression=tf.constant([sentence])
    )
    ours, theirs = Predictor(model, vocabulary), Predictor.load(path)
    assert ours(photo, sentence).tokens == ["red", "b", "##o", "##x"]
    assert [word.decode() for word in answer["words"].numpy()[0] if word] == [
        "red", "b", "##o", "##x",
    ]  # fmt: skip
    mask = mask_of(answer["mask_png_bytes"].numpy()[0])
    for predictor in (ours, theirs):
        np.testing.assert_array_equal(mask, predictor(photo, sentence).mask)
    answers, errors = c_library(path, [], tmp_path)
    assert answers is None and "WordpieceTokenizeWithOffsets" in errors
    assert operations(path) - ALLOWED_OPS == {"WordpieceTokenizeWithOffsets"}


def test_folded_and_half_precision_artefacts(exported, photo, tmp_path):
    from keras_cmsa import Predictor
    from keras_cmsa.export import export_saved_model

    model, vocabulary, path = exported
    exact = Predictor.load(path)(photo, "red box").logits
    largest = np.abs(exact).max()
    for version, (options, error) in enumerate(
        [({"fold_norms": True}, 1e-5), ({"dtype": "float16"}, 1e-2), ({"dtype": "bfloat16"}, 0.1)],
        1,
    ):
        folder = tmp_path / "cmsa"
        other = export_saved_model(model, vocabulary, folder, version, warmup=False, **options)
        found = Predictor.load(other)(photo, "red box").logits
        assert np.abs(found - exact).max() <= error * max(1, largest), options
        facts = json.loads((other / "model_card.json").read_text())
        assert facts["norms_folded"] is (version == 1)
        assert operations(other) - ALLOWED_OPS == set()


def operations(path):
    from tensorflow.core.protobuf import saved_model_pb2

    graph = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = graph.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return {node.op for node in nodes}


def test_operations_are_of_the_core(exported):
    assert operations(exported[2]) - ALLOWED_OPS == set()


def test_every_output_has_a_batch_and_a_plain_type(exported):
    for name in ("serving_default", "tensors", "heatmap"):
        for output in signature_of(exported[2], name).outputs.values():
            assert output.tensor_shape.dim[0].size == -1
            assert output.dtype in (tf.float32, tf.string, tf.bool)


def test_saved_model_cli_knows_and_runs_it(exported, served, photo, tmp_path):
    program = Path(sys.executable).with_name("saved_model_cli")
    common = ["--dir", exported[2], "--tag_set", "serve"]

    def run(command, *options):
        done = subprocess.run([program, command, *common, *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown = run("show", "--signature_def", "serving_default")
    for line in (
        "inputs['expression'] tensor_info:",
        "outputs['mask_png_bytes'] tensor_info:",
        "shape: (-1, 16, 16)",
        "Method name is: tensorflow/serving/predict",
    ):
        assert line in shown
    assert "does not contain the default denylisted ops" in run("scan")
    file = encoded(photo[:9, :9])
    given = f"image_bytes=[{file!r}];expression=[b'red box']"
    run("run", "--signature_def", "serving_default", "--input_exprs", given, "--outdir", tmp_path)
    wanted = served([file], ["red box"])
    for name in ("probabilities", "score", "box", "word_attention"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), wanted[name], atol=1e-6)


# --- What is refused


def test_a_version_is_never_written_over(exported):
    from keras_cmsa.export import export_saved_model

    model, vocabulary, path = exported
    before = (path / "saved_model.pb").stat()
    with pytest.raises(FileExistsError, match="is there already, and may be in service"):
        export_saved_model(model, vocabulary, path.parent)
    assert (path / "saved_model.pb").stat() == before


def test_what_does_not_fit_is_refused(exported, tmp_path, monkeypatch):
    from keras_cmsa import Vocabulary
    from keras_cmsa.export import export_saved_model

    model, vocabulary, _ = exported
    with pytest.raises(ValueError, match="The vocabulary does not fit the model"):
        export_saved_model(model, Vocabulary(["red"], tiny.WORDS), tmp_path / "cmsa")
    for version in (0, -1, "1", 1.0, True):
        with pytest.raises(ValueError, match="version must be a positive integer"):
            export_saved_model(model, vocabulary, tmp_path / "cmsa", version)
    with pytest.raises(ValueError, match="dtype must be one of"):
        export_saved_model(model, vocabulary, tmp_path / "cmsa", dtype="int8")
    monkeypatch.setattr(
        "keras_cmsa.export.write", lambda *_: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        export_saved_model(model, vocabulary, tmp_path / "cmsa")
    assert not list((tmp_path / "cmsa").iterdir())


# --- From a terminal


def run(*arguments):
    """The exit code of a command."""
    from keras_cmsa.cli import main

    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


def test_the_command(exported, tmp_path, capsys, photo):
    pytest.importorskip("tensorflow_serving")
    from tensorflow_serving.apis import prediction_log_pb2

    from keras_cmsa import Predictor

    model, vocabulary, _ = exported
    trained = tmp_path / "run"
    trained.mkdir()
    model.save(trained / "model.keras")
    vocabulary.save(trained / "vocabulary.txt")
    numbers = {"overall_iou": 0.5, "mean_iou": 0.25, "samples": 3}
    metrics = {"profile": "strict", "weights": "random (seed 0)", "splits": {"val": numbers}}
    (trained / "metrics.json").write_text(json.dumps(metrics))
    folder = tmp_path / "saved_models" / "cmsa"
    (folder / "4").mkdir(parents=True)
    arguments = ["export", folder, "--model", trained, "--dtype", "bfloat16"]
    assert run(*arguments, "--data", "boxes") == 0
    assert str(folder / "5") in capsys.readouterr().out
    card = (folder / "5" / "model_card.md").read_text()
    assert "| Trained on | boxes |" in card and "| Started from | random (seed 0) |" in card
    assert "| val | 0.5 | 0.25 | 3 |" in card

    loaded = tf.saved_model.load(str(folder / "5"))
    assert {weight.dtype for weight in loaded.weights} == {tf.bfloat16}
    requests = tf.data.TFRecordDataset(
        str(folder / "5/assets.extra/tf_serving_warmup_requests")
    ).as_numpy_iterator()
    requests = [
        prediction_log_pb2.PredictionLog.FromString(r).predict_log.request for r in requests
    ]
    assert len(requests) == 2
    for request in requests:
        assert request.model_spec.name == "cmsa"
        inputs = {name: tf.constant(tf.make_ndarray(x)) for name, x in request.inputs.items()}
        answer = loaded.signatures[request.model_spec.signature_name](**inputs)
        assert answer["valid"].numpy().all()
        assert mask_of(answer["mask_png_bytes"].numpy()[0]).shape == (480, 640)

    # Eight bits of each weight: near, not equal.
    exact = Predictor(model, vocabulary)(photo, "red box").logits
    small = Predictor.load(folder / "5")(photo, "red box").logits
    assert 0 < np.abs(exact - small).max() < 0.1 * max(1, np.abs(exact).max())

    assert run(*arguments, "--version", "5") == 2
    assert "is there already" in capsys.readouterr().err


def test_a_version_is_a_model_to_the_other_commands(exported, tmp_path, capsys, photo):
    """A table's results, which are of one model, included."""
    from keras_cmsa.export import export_saved_model

    model, vocabulary, path = exported
    export_saved_model(model, vocabulary, tmp_path / "cmsa", warmup=False)
    assert not (tmp_path / "cmsa/1/assets.extra").exists()
    Image.fromarray(photo).save(tmp_path / "photo.png")
    (tmp_path / "pairs.csv").write_text("image,expression\nphoto.png,red box\n")
    asked = ["segment", "--csv", tmp_path / "pairs.csv", "-o", tmp_path / "out", "--model"]
    assert run(*asked, path) == 0
    assert run(*asked, path) == 0
    assert "1 of 1 rows were done before" in capsys.readouterr().err
    assert run(*asked, tmp_path / "cmsa/1") == 2
    assert "results of another model" in capsys.readouterr().err
    assert run("export", tmp_path / "again", "--model", path) == 2
    assert "comes from a SavedModel: copy its folder" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
