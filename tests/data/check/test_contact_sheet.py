import numpy as np
from PIL import Image

from segjax.colours import class_rgb
from segjax.data.check.__main__ import main
from tests.data.data_files import save


def test_the_sheet_shows_masks_in_their_colour(tmp_path):
    image = np.full((160, 160, 3), 100, np.uint8) - np.eye(160, dtype=np.uint8)[..., None]
    save(tmp_path / "data" / "a.png", image)
    save(tmp_path / "data" / "a_mask.png", np.indices((160, 160), np.uint8)[1] // 80)
    sheet = tmp_path / "sheet.png"
    arguments = ["--val_share=0", "--test_share=0", f"--sheet={sheet}"]
    assert main([str(tmp_path / "data"), *arguments]) == 0
    pixels = np.array(Image.open(sheet))
    expected = (0.45 * 100 + 0.55 * np.array(class_rgb(0))).astype(np.uint8)
    shown = (pixels == expected).all(axis=-1).sum()
    assert abs(int(shown) - 80 * 160) <= 160
