"""Features on disk: equal to computed ones, of the right image and encoder, resumed, in bounds."""

import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
import tiny
import trainee
from keras import layers
from PIL import Image

from keras_cmsa.data.augment import Augmentation
from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.presets.preset import load_preset
from keras_cmsa.training import loop
from keras_cmsa.training.features import FeatureBatches, ImageFeatures
from keras_cmsa.training.run import precision


def backbone(scale=1 / 255):
    """A frozen tower with maps of unlike channels, whose weights follow from the seed."""
    keras.utils.set_random_seed(3)
    image = keras.Input((tiny.SIZE, tiny.SIZE, 3))
    x = layers.Rescaling(scale)(image)
    maps = [layers.Conv2D(c, s, strides=s)(x) for c, s in ((3, 4), (2, 4), (5, 2))]
    model = keras.Model(image, maps, name="backbone")
    model.trainable = False
    return model


def features_of(folder, encoder=None, resizing="pad"):
    preprocessor = tiny.preprocessor()
    preprocessor.resizing = resizing
    return ImageFeatures(folder, encoder or backbone(), preprocessor)


@pytest.fixture
def features(tmp_path):
    return features_of(tmp_path / "features")


def test_maps_from_disk_are_those_of_the_tower(tmp_path, features):
    records = tiny.records(tmp_path, 3)
    all_records = tiny.several_of_each(records, [2, 1, 3])
    features.add_images(all_records, mirrored=records, batch_size=4)
    assert len(list(features.folder.iterdir())) == 6
    for record in records:
        pixels = features.preprocessor.image(record.image())
        for mirrored in (False, True):
            wanted = features.encoder((pixels[:, ::-1] if mirrored else pixels)[None])
            maps = features.maps(record, mirrored)
            assert [x.dtype for x in maps] == ["float16"] * 3
            for one, other in zip(maps, wanted):
                # float16 has 11 bits.
                np.testing.assert_allclose(one, np.asarray(other)[0], rtol=2**-11, atol=1e-6)


def test_batches_are_those_of_images_with_maps_in_their_place(tmp_path, features):
    """Mirrored or not, and where a row has no further expression."""
    records = tiny.several_of_each(tiny.records(tmp_path, 4), [2, 1, 1, 2])
    features.add_images(records, mirrored=records)
    options = {"per_image": 2, "seed": 1, "augmentation": Augmentation(0.5, changes=False)}
    ours = FeatureBatches(records, features.preprocessor, 4, features=features, **options)
    theirs = RecordBatches(records, features.preprocessor, 4, **options)
    assert 0 < theirs.flips(0).sum() < 4
    (inputs, masks, weights), (wanted, *others) = ours[0], theirs[0]
    for found, other in zip((inputs["words"], masks, weights), (wanted["words"], *others)):
        np.testing.assert_array_equal(found, other)
    for found, other in zip(inputs["maps"], features.encoder(wanted["image"])):
        np.testing.assert_allclose(found, tiny.to_numpy(other), rtol=2**-11, atol=1e-6)


def test_channels_are_left_out_as_the_number_of_the_batch_says(tmp_path, features):
    """Whole channels, for each image anew; the others grow, so that their mean stays."""
    records = tiny.records(tmp_path, 8)
    features.add_images(records)
    options = {"features": features, "seed": 1, "batches": 40}
    plain = FeatureBatches(records, features.preprocessor, 4, **options)
    dropped = FeatureBatches(records, features.preprocessor, 4, map_dropout=0.25, **options)
    resumed = FeatureBatches(
        records, features.preprocessor, 4, map_dropout=0.25, first_batch=3, **options
    )
    factors = []
    for number in range(40):
        for one, other in zip(dropped[number][0]["maps"], plain[number][0]["maps"], strict=True):
            sums = [np.abs(x).sum((1, 2), keepdims=True) for x in (one, other)]
            factor = sums[0] / np.maximum(sums[1], 1e-6)
            np.testing.assert_allclose(one, other * factor, rtol=1e-5)
            factors.append(factor[sums[1] > 0])
    factors = np.concatenate(factors)
    assert set(np.unique(factors.round(5))) == {0, np.float32(4 / 3).round(5)}
    assert abs((factors == 0).mean() - 0.25) < 0.05
    for one, other in zip(dropped[5][0]["maps"], resumed[2][0]["maps"]):
        np.testing.assert_array_equal(one, other)


def test_what_is_there_is_not_computed_again(tmp_path, monkeypatch, features):
    records = tiny.records(tmp_path, 3)
    monkeypatch.setattr(features, "encoder", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        features.add_images(records[:1])  # interrupted
    monkeypatch.undo()
    features.add_images(records[:2])
    before = {path: path.stat().st_mtime_ns for path in features.folder.iterdir()}
    again = features_of(tmp_path / "features")
    again.add_images(records)
    after = {path: path.stat().st_mtime_ns for path in again.folder.iterdir()}
    assert len(after) == 3 and before.items() <= after.items()


def test_another_image_encoder_or_resizing_is_noticed(tmp_path, features):
    record, other = tiny.records(tmp_path, 2)
    features.add_images([record])
    assert features_of(tmp_path / "features").folder == features.folder  # built anew, the same

    changed = backbone()
    changed.layers[-1].bias.assign(changed.layers[-1].bias + 1e-3)
    with precision("bfloat16"):
        coarser = backbone()
    for another in (
        features_of(tmp_path / "features", changed),
        features_of(tmp_path / "features", coarser),
        features_of(tmp_path / "features", backbone(scale=1 / 127)),
        features_of(tmp_path / "features", resizing="stretch"),
    ):
        with pytest.raises(FileNotFoundError, match=r"features of .*0_0\.png .* Received: none in"):
            another.maps(record)

    shutil.copy(other.image_path, record.image_path)
    later = features_of(tmp_path / "features")
    with pytest.raises(FileNotFoundError, match="Received: none in"):
        later.maps(record)
    # A file is one key, whatever its name; turned another way it is another.
    assert later.path(record) == later.path(other)
    turned = replace(record, as_stored=not record.as_stored)
    assert later.path(turned) != later.path(record)


def test_the_space_is_looked_at_before_any_work(tmp_path, monkeypatch, features):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert features.bytes == 2 * (4 * 4 * 3 + 4 * 4 * 2 + 8 * 8 * 5)
    with pytest.raises(OSError, match=r"0\.0 MB for the features of 2 images.* Received: a disk"):
        features.add_images(tiny.records(tmp_path, 2))
    assert not (tmp_path / "features").exists()


def test_a_damaged_file_is_named(tmp_path, features):
    (record,) = tiny.records(tmp_path, 1)
    features.add_images([record])
    path = features.path(record)
    for damaged in (path.read_bytes()[:-9], b""):
        path.write_bytes(damaged)
        message = rf"\.float16 is damaged: wanted 800 bytes.*: {len(damaged)}\. Delete it"
        with pytest.raises(ValueError, match=message):
            features.maps(record)


def test_an_image_of_another_size_than_its_annotation_is_an_error(tmp_path, features):
    record = tiny.records(tmp_path, 1)[0]
    Image.new("RGB", (7, 9)).save(record.image_path)
    with pytest.raises(ValueError, match=r"wanted an image of the annotation's size.*: \(9, 7\)"):
        features.add_images([record])


def test_values_beyond_float16_are_an_error(tmp_path):
    (record,) = tiny.records(tmp_path, 1)
    features = features_of(tmp_path / "features", backbone(scale=1e4))
    with pytest.raises(ValueError, match=r"0_0\.png: wanted features of at most 65,504.*Received"):
        features.add_images([record])
    assert not list(features.folder.iterdir())


def test_a_tower_that_training_changes_has_no_features(tmp_path):
    encoder = backbone()
    encoder.trainable = True
    with pytest.raises(ValueError, match="wanted a frozen image encoder.* Received: 'backbone'"):
        features_of(tmp_path, encoder)


# --- a run on them


def test_features_are_for_one_device(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "process_part", lambda: (0, 1))
    with pytest.raises(ValueError, match="wanted `features` or `devices`"):
        train(tmp_path / "run", tiny.records(tmp_path, 8), features=str(tmp_path / "maps"))
    assert not (tmp_path / "maps").exists()


def train(run_dir, scenes, resume=False, **changed):
    keras.utils.set_random_seed(8 if resume else 7)  # other weights, which the checkpoint replaces
    model = tiny.model(attention="word")
    model.get_layer("backbone").trainable = False
    pace = {"steps": 3, "steps_per_round": 2}
    changed = {"freeze_backbone": True, "backbone_weights": "w.h5", **pace, **changed}
    settings = trainee.settings(run_dir, **changed)
    loop.compile_model(model, settings)
    trainee.train(model, scenes, run_dir, resume, **changed)
    return trainee.history(run_dir)


@pytest.mark.usefixtures("untraced")
def test_a_run_on_features_is_the_run_on_images(tmp_path, monkeypatch):
    """Also where it is interrupted after a round; to resume, it asks no image again."""
    scenes = tiny.records(tmp_path, trainee.TRAINING + trainee.VALIDATION)
    wanted = train(tmp_path / "images", scenes)
    saved = loop.Checkpoint.on_epoch_end

    def stop(self, epoch, logs=None):
        saved(self, epoch, logs)
        raise KeyboardInterrupt

    maps = {"features": str(tmp_path / "maps")}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Checkpoint, "on_epoch_end", stop)
        train(tmp_path / "run", scenes, **maps)
    with pytest.raises(ValueError, match="began with other settings: .*features"):
        train(tmp_path / "run", scenes, resume=True)
    with monkeypatch.context() as patch:
        patch.setattr(type(scenes[0]), "image", lambda record: 1 / 0)
        history = train(tmp_path / "run", scenes, resume=True, **maps)
    # The maps have 11 bits, of which 3 steps make these differences.
    for row, other in zip(history, wanted, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=2e-3)
        assert row["val_loss"] == pytest.approx(other["val_loss"], rel=2e-3)

    # The preset is a model from images.
    preset = load_preset(tmp_path / "run")
    inputs = preset.preprocessor([scenes[0].image()], ["red box"])
    assert preset.model(inputs).shape == (1, 1, tiny.SIZE, tiny.SIZE, 1)
