"""The model of a step's time, and the page and picture made from what was measured."""

import pytest

from scripts import scaling
from tests.docs.pages import ROOT, read

FIXED, WORK, LINK = 0.05, 0.002, 1e9


def test_the_fit_finds_the_model_in_the_medians_of_one_device_and_predicts_others_of_it():
    points = [
        {"size": size, "batch": batch, "devices": 1, "seconds": [0.9 * took, took, 1.2 * took]}
        for size, batches in scaling.SHAPES.items()
        for batch in batches
        for took in [FIXED + WORK * batch * size**2 / 64**2]
    ]
    points.append({**scaling.SHARED, "devices": 4, "seconds": [0.1, 0.1, 0.1]})
    assert scaling.fit(points) == pytest.approx({"fixed": FIXED, "work": WORK})
    for point in points:
        images = point["batch"] * (point["size"] / 64) ** 2
        point["seconds"] = [WORK * images**1.2] * 3
    fixed, work = scaling.fit(points).values()
    assert fixed == 0 < work
    # Devices share the work and exchange the gradients.
    model = {"fixed": FIXED, "work": WORK, "link_bytes_a_second": LINK}
    report = {"parameters": 1_000_000, "model": model}
    alone = scaling.predict(report, {"size": 128, "batch": 8, "devices": 1})
    assert alone == pytest.approx(FIXED + WORK * 8 * 4)
    four = scaling.predict(report, {"size": 128, "batch": 8, "devices": 4})
    assert four == pytest.approx(FIXED + WORK * 8 + 2 * 3 / 4 * 4e6 / LINK)


def test_page_and_picture_come_from_the_file(tmp_path, monkeypatch):
    page, text = tmp_path / "performance.md", read("docs/performance.md")
    page.write_text(text.replace("| 512 | 1 | 1 |", "old"), encoding="utf-8")
    monkeypatch.setattr(scaling, "PAGE", page)
    monkeypatch.setattr(scaling, "FIGURES", tmp_path)
    for _ in range(2):  # the second time replaces the first
        scaling.main(["--draw", f"{ROOT}/docs/results/scaling-cpu.json"])
        assert page.read_text(encoding="utf-8") == text
    assert "| 64 | 16 | 4 simulated |" in text
    assert (tmp_path / "scaling-cpu.png").stat().st_size > 10_000
