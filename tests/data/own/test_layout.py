import numpy as np

from segjax.errors import DataError
from tests.data.data_files import fails, labels, load_folder, picture, save


def test_class_folder_that_is_not_named_or_holds_other_values(tmp_path):
    save(tmp_path / "images" / "a.png", picture(0))
    save(tmp_path / "masks" / "dgo" / "a.png", (labels(0) == 1).astype(np.uint8))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    fails(DataError, "folder of masks: no class 'dgo'; did you mean 'dog'", load_folder, tmp_path)
    (tmp_path / "classes.txt").unlink()
    save(tmp_path / "masks" / "dgo" / "a.png", labels(0) * 40)
    fails(DataError, r"dgo/a.png holds 0, 40, 80; expected 0 and 1, or 255", load_folder, tmp_path)
