"""The images a run is measured on: every kind of data the same, and what cannot be used a line."""

import dataclasses

import numpy as np
import pytest

from scripts.make_example_folder import Example, write_coco, write_flat
from segjax.data import synthetic, write_gz
from segjax.errors import SegjaxError
from segjax.evaluate.labelled import open_labelled
from segjax.predict.trained import load_trained
from tests.small_net import silent

SCENES = synthetic(3, seed=1)
LABELS = ((SCENES.masks > 0) * np.arange(1, 6)).max(-1).astype(np.uint8)
MASKS = (LABELS[..., None] == np.arange(1, 6)).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(unet_run):
    return load_trained(unet_run)


def example(labels=LABELS, classes=SCENES.class_names):
    objects = labels.astype(np.int32)  # one of a class
    return Example(classes, ("p0", "p1", "p2"), SCENES.images, labels, objects)


def npz(path, **changes):
    content = {"images": SCENES.images, "masks": MASKS, "class_names": [*SCENES.class_names]}
    np.savez(path, **(content | changes))


@pytest.mark.parametrize("kind", ["folder", "two.npz", "unnamed.npz", "annotations.json"])
def test_own_data_of_every_kind_is_shown_as_the_runs_training_did(kind, trained, tmp_path):
    path, classes = tmp_path / kind, SCENES.class_names[::-1]
    if kind == "folder":  # its classes in another order, and one that the run does not know
        write_flat(example((6 - LABELS) * (LABELS > 0), (*classes, "tree")), path)
    elif kind == "two.npz":  # twice the size: the masks come back to the run's
        twice = [array.repeat(2, 1).repeat(2, 2) for array in (SCENES.images, MASKS[..., ::-1])]
        npz(path, images=twice[0], masks=twice[1], class_names=classes)
    elif kind == "unnamed.npz":  # numbers in the order of the run's classes
        np.savez(path, images=SCENES.images, masks=LABELS)
    else:
        pytest.importorskip("pycocotools")
        write_coco(example(), tmp_path)
    told, config = [], trained.config.replace(images_dir="that of the run's own pictures")
    trained = dataclasses.replace(trained, config=config)
    dataset, same = open_labelled(str(path), trained, say=told.append)
    assert same is trained
    assert dataset.label_map == SCENES.label_map
    np.testing.assert_array_equal(dataset.masks > 0, MASKS > 0)
    assert dataset.images.shape == SCENES.images.shape
    if kind != "two.npz":
        np.testing.assert_array_equal(dataset.images, SCENES.images)
    assert len(dataset.names) == 3
    assert dataset[1:].names.tolist() == dataset.names[1:].tolist()
    note = {"folder": "taken as background: tree", "unnamed.npz": "no class_names in the file: "}
    assert [line.startswith(f"{path}: {note[kind]}") for line in told] == [True] * (kind in note)


def test_the_pictures_of_the_test_where_the_data_comes_split(trained, tmp_path):
    npz(tmp_path / "split.npz", split=["train", "test", "train"])
    told = []
    dataset, _ = open_labelled(str(tmp_path / "split.npz"), trained, say=told.append)
    assert [line for line in told if line.startswith("warning: split.npz test: no pixel of ")]
    np.testing.assert_array_equal(dataset.images, SCENES.images[1:2])
    assert dataset.names.tolist() == ["image 000001"]


def test_what_cannot_be_measured_is_one_line(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_gz(SCENES, "good.gz")
    write_gz(synthetic(2, seed=1, image_size=64)[:0], "none.gz")
    (tmp_path / "damaged.gz").write_bytes((tmp_path / "good.gz").read_bytes()[:-100])
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("no data")
    (tmp_path / "broken.json").write_text("{")
    write_flat(example(LABELS + 90), tmp_path / "values")
    write_flat(example(classes=("cat", "dog", "disk", "oval", "star")), tmp_path / "others")
    write_flat(example(), tmp_path / "unmasked")
    (tmp_path / "unmasked" / "p1_mask.png").unlink()
    write_flat(example(), tmp_path / "broken")
    (tmp_path / "broken" / "p1.png").write_bytes(b"\x89PNG")
    npz("channels.npz", images=np.zeros((3, 64, 64, 4), np.uint8))
    npz("no_labels.npz", masks=MASKS * 0)
    npz("four.npz", masks=MASKS[..., :4], class_names=SCENES.class_names[:4])
    npz("nothing.npz", images=SCENES.images[:0], masks=MASKS[:0])
    npz("hidden.npz", ignore=MASKS.any(-1))
    npz("ignored.npz", ignore=np.ones((3, 64, 64), bool))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "four.npz").read_bytes()[:500])
    for data, said in (
        ("absent", "absent: no such folder"),
        ("absent.gz", "absent.gz: no such file here or in"),
        ("absent.npz", "absent.npz: no such file"),
        ("absent.json", "absent.json: no such file"),
        ("note.txt", "expected a folder, .json, .npz or .gz file"),
        ("broken.json", "broken.json: "),
        ("none.gz", "none.gz: "),
        ("damaged.gz", "damaged.gz: "),
        ("empty", "no images here"),
        ("values", "mask values out of range"),
        ("others", "no class 'rectangle'"),
        ("unmasked", "no mask for the image"),
        ("broken", "cannot read the image: p1.png"),
        ("channels.npz", "images has shape [3, 64, 64, 4]"),
        ("no_labels.npz", "no mask has any foreground"),
        ("hidden.npz", "no mask has any foreground"),
        ("four.npz", "no class 'star'"),
        ("nothing.npz", "images is empty"),
        ("ignored.npz", "every pixel of the test split is ignored"),
        ("cut.npz", "not a whole .npz file"),
    ):
        with pytest.raises(SegjaxError) as caught:
            open_labelled(data, trained, say=silent)
        assert said in str(caught.value), (data, str(caught.value))
        assert "\n" not in str(caught.value)


def test_settings_of_other_pictures_and_splits_without_a_test_are_refused(trained, tmp_path):
    write_flat(example(), tmp_path / "split" / "train")
    for data, settings, said in (
        ("", {"ignore_value": 9}, "--ignore_value: is of other pictures"),
        (str(tmp_path / "split"), {}, "has no test images"),
    ):
        with pytest.raises(SegjaxError, match=said):
            open_labelled(data, trained, say=silent, **settings)
