import numpy as np

from segjax.errors import DataError
from tests.data.data_files import fails, labels, load_folder, picture, save, write_folder


def test_class_folder_that_is_not_named_and_too_many_pixels(tmp_path):
    save(tmp_path / "images" / "a.png", picture(0))
    save(tmp_path / "masks" / "dgo" / "a.png", (labels(0) == 1).astype(np.uint8))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    fails(DataError, "folder of masks: no class 'dgo'; did you mean 'dog'", load_folder, tmp_path)
    (tmp_path / "classes.txt").unlink()
    save(tmp_path / "masks" / "dgo" / "a.png", labels(0) * 40)
    fails(DataError, r"dgo/a.png holds 0, 40, 80; expected 0 and 1, or 255", load_folder, tmp_path)
    root = write_folder(tmp_path / "large", 4)
    message = r"GiB.*choose a smaller --image_size"
    fails(DataError, message, load_folder, root, image_size=8 * 32768)
