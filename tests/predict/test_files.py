"""Which images are meant, and what their results are called."""

from segjax.predict.files import find_images, output_names


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
