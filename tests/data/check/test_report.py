import pytest

from segjax.config import Config
from segjax.data.check.__main__ import check_source, open_for_check
from tests.data.data_files import coco_tables, write_coco


def test_report_counts_ignored_pixels_and_boxes_of_the_file(tmp_path):
    pytest.importorskip("pycocotools")
    path = write_coco(tmp_path, coco_tables(6))
    config = Config(min_object_area=6.0, val_share=0.0, test_share=0.0)
    report, tiles = check_source(open_for_check([str(path)], config), config)
    part = report.splits["train"]
    assert part.ignored_pixels == 6 * 5
    assert part.pixels == 6 * (16 * 24 - 5)
    assert part.objects == {"cat": 0, "dog": 6}
    assert len(tiles) == 6
