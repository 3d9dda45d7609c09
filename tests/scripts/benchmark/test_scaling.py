"""The model of a step's time, and the page and picture made from what was measured."""

import json

import pytest

from scripts.benchmark import scaling

FIXED, WORK = 0.05, 0.002
LINK = 1e9


@pytest.fixture
def report():
    points = [
        {"size": size, "batch": batch, "devices": 1}
        for size, batches in scaling.SHAPES.items()
        for batch in batches
    ]
    for point in points:
        seconds = FIXED + WORK * point["batch"] * point["size"] ** 2 / 64**2
        point["seconds"] = [0.9 * seconds, seconds, 1.2 * seconds]
    points.append({**scaling.SHARED, "devices": 4, "seconds": [0.1, 0.1, 0.1]})
    return {
        "date": "2026-01-01",
        "environment": {"device": "A device", "versions": {"jax": "1"}, "commit": "abc"},
        "simulated": True,
        "depth": 8,
        "dtype": "float32",
        "parameters": 1_000_000,
        "points": points,
        "model": {"fixed": FIXED, "work": WORK, "link_bytes_a_second": LINK},
    }


def test_the_fit_finds_the_model_in_the_medians_of_one_device_and_no_time_below_zero(report):
    assert scaling.fit(report["points"]) == pytest.approx({"fixed": FIXED, "work": WORK})
    for point in report["points"]:
        images = point["batch"] * (point["size"] / 64) ** 2
        point["seconds"] = [WORK * images**1.2] * 3
    found = scaling.fit(report["points"])
    assert found["fixed"] == 0
    assert found["work"] > 0


def test_devices_share_the_work_and_exchange_the_gradients(report):
    alone = scaling.predict(report, {"size": 128, "batch": 8, "devices": 1})
    assert alone == pytest.approx(FIXED + WORK * 8 * 4)
    four = scaling.predict(report, {"size": 128, "batch": 8, "devices": 4})
    assert four == pytest.approx(FIXED + WORK * 8 + 2 * 3 / 4 * 4e6 / LINK)


def test_page_and_picture_come_from_the_file(report, tmp_path, monkeypatch):
    page = tmp_path / "performance.md"
    begin, end = "<!-- scaling: scripts/benchmark/scaling.py -->", "<!-- end of scaling -->"
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(scaling, "ROOT", tmp_path)
    monkeypatch.setattr(scaling, "PAGE", page)
    monkeypatch.setattr(scaling, "FIGURES", tmp_path / "figures")
    file = tmp_path / "scaling-x.json"
    file.write_text(json.dumps(report), encoding="utf-8")
    for _ in range(2):  # the second time replaces the first
        scaling.main(["--draw", str(file)])
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith(f"{end}\nafter\n")
    assert "old" not in text
    assert text.count("| 512 | 1 | 1 | 5.62 (") == 1
    assert "| 64 | 16 | 4 simulated | 160 (160 to 160) |" in text
    assert (tmp_path / "figures" / "scaling-x.png").stat().st_size > 10_000
