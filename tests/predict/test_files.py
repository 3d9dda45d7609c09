"""Which images are meant, and what their results are called."""

import numpy as np
import pytest
from PIL import Image

from segjax.predict.files import find_images, output_names, write
from segjax.predict.predictor import Prediction


def test_own_results_are_no_images_and_names_do_not_clash(tmp_path):
    out = tmp_path / "predictions"
    out.mkdir()
    for path in (tmp_path / "a.png", tmp_path / "a.jpg", out / "a_mask.png"):
        path.write_bytes(b"")
    files, missing = find_images([str(tmp_path), str(tmp_path / "a.png"), "absent*"], out)
    assert [path.name for path, _ in files] == ["a.jpg", "a.png"]
    assert missing == ["absent*"]
    names = output_names([*files, *files[:1]], out)
    assert list(map(str, names)) == ["a", "a_png", "a_jpg"]


def test_a_stop_in_the_middle_leaves_whole_files_only(tmp_path, monkeypatch):
    labels, scores = np.zeros((8, 8), np.uint8), np.zeros((8, 8, 2), np.float32)
    image, endings = np.zeros((8, 8, 3), np.uint8), ("mask", "overlay", "score1", "score2")
    for whole in range(len(endings)):
        saved = []

        def save(picture, file, *given, saved=saved, whole=whole, **how):
            file.write(b"half")
            if len(saved) == whole:
                raise KeyboardInterrupt
            saved.append(file)

        monkeypatch.setattr(Image.Image, "save", save)
        prediction, start = Prediction(labels, scores, ("a", "b")), tmp_path / f"a{whole}"
        with pytest.raises(KeyboardInterrupt):
            write(prediction, image, start, scores="png", overlay=True)
        found = sorted(path.name for path in tmp_path.glob(f"*{start.name}*"))
        assert found == [f"{start.name}_{ending}.png" for ending in endings[:whole]]
