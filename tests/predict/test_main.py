"""python -m segjax.predict: masks of all images, bad ones named and skipped."""

import json
import os
import re

import numpy as np
from PIL import Image

from segjax.predict.__main__ import main


def opened(path):
    """Read a picture whole and close its file."""
    with Image.open(path) as picture:
        return picture.copy()


def test_files_folders_and_globs(unet_run, pictures, predictor, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(unet_run), str(pictures), str(pictures / "*.jpg"), "--scores=npz"]
    assert main([*arguments, f"--out={out}", "--batch_size=2"]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert re.search("broken.png.*skipped", said.err)
    assert "3 images done, 1 skipped" in said.out
    listed = json.loads((out / "predictions.json").read_text())
    assert [len(row["files"]) for row in listed["done"]] == [3, 3, 3]
    for name, size in {"a": (64, 64), "b": (45, 37), "more/a": (20, 64)}.items():
        mask = opened(out / f"{name}_mask.png")
        assert (mask.mode, mask.getpalette()[:3]) == ("P", [0, 0, 0])
        labels = np.array(mask)
        assert labels.shape == size
        assert opened(out / f"{name}_overlay.png").size == size[::-1]
        with np.load(out / f"{name}_scores.npz") as stored:
            assert stored["scores"].shape == (*size, 5)
            assert stored["classes"].tolist()[0] == "rectangle"
        source = pictures / (name + (".jpg" if name == "b" else ".png"))
        np.testing.assert_array_equal(labels, predictor(source).labels)
        (row,) = [row for row in listed["done"] if row["image"] == str(source)]
        counts = np.bincount(labels.ravel(), minlength=6)[1:].tolist()
        assert (row["size"], list(row["pixels"].values())) == (list(size), counts)


def test_scores_as_pictures_no_overlay_and_what_the_faithful_run_says(
    unet_run, faithful_run, pictures, predictor, tmp_path, capsys
):
    source = str(pictures / "a.png")
    arguments = [str(unet_run), source, "--scores=png", "--no-overlay", f"--out={tmp_path}"]
    assert main(arguments) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a_mask.png", *(f"a_score{i}.png" for i in range(1, 6)), "predictions.json"]
    wide = np.array(opened(tmp_path / "a_score5.png"))
    scores = predictor(source).scores[..., 4]
    np.testing.assert_allclose(wide / 65535, np.clip(scores, 0, 1), atol=1 / 65535)
    assert main([str(faithful_run), source, f"--out={tmp_path / 'faithful'}"]) == 0
    out = capsys.readouterr().out
    assert "tested with batch statistics; predicting with running ones" in out
    assert "one pixel in four" in out


def test_names_that_are_too_long_or_no_unicode(unet_run, pictures, tmp_path, capsys):
    for name in (b"a" * 249 + b".png", b"\xff.png"):
        (tmp_path / os.fsdecode(name)).write_bytes((pictures / "a.png").read_bytes())
    assert main([str(unet_run), str(tmp_path), f"--out={tmp_path / 'out'}"]) == 1
    assert "its results cannot be written (File name too long); skipped" in capsys.readouterr().err
    listed = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["image"] for row in listed["done"]] == [str(tmp_path / "\udcff.png")]
    assert [row["why"] for row in listed["skipped"]] == ["File name too long"]


def test_a_mistake_is_a_line(unet_run, pictures, tmp_path, monkeypatch, capsys):
    for name in ("a.png", "a_mask.png"):
        (tmp_path / name).write_bytes((pictures / "a.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    for arguments, said in (
        ("absent a.png", "holds no run"),
        ("RUN absent.png", "no images to predict"),
        ("RUN a.png --tile=60", "--tile=60"),
        ("RUN a.png --which=last", "--which=last"),
        ("RUN a.png --batch_size=0", "--batch_size=0"),
        ("RUN a_mask.png a.png --out=.", "is one of the images"),
        ("RUN . --out=.", "holds the images"),
        ("RUN a.png --out=a.png", "a.png: is a file; name another --out"),
    ):
        assert main(arguments.replace("RUN", str(unet_run)).split()) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("segjax: ")
        assert said in line
