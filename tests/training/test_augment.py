import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy import ndimage

from segjax.augment_table import AUGMENTATIONS, parse_augment
from segjax.errors import ConfigError
from segjax.training import augment
from segjax.training.augment import _STREAMS, make_augment
from tests.goldens import recipe

SIZE = 16
VALUES = np.array([50, 100, 150, 200, 250], np.uint8)


def batch_of(count=4, *, seed=0, height=SIZE, width=SIZE, valid=True):
    """Random images whose channels are those of the first three masks, so that they must agree."""
    rng = np.random.default_rng(seed)
    masks = (rng.random((count, height, width, 5)) < 0.4) * VALUES
    batch = {"images": jnp.asarray(masks[..., :3]), "masks": jnp.asarray(masks)}
    if valid:
        batch["valid"] = jnp.asarray(masks[..., 0] > 0)
    return batch


@functools.cache
def jitted(names, **options):
    return jax.jit(make_augment(names, **options))


ALL = ",".join(AUGMENTATIONS)
QUARTERS = [functools.partial(np.rot90, k=k) for k in range(4)]
GEOMETRY = "flip,flip_vertical,rotate90,crop:0.5,scale:0.5,rotate:180,translate:0.3"


def test_names_are_read_in_the_order_of_application_and_wrong_ones_refused():
    assert parse_augment(" noise:3, rotate ,flip") == {"flip": 0.0, "rotate": 15.0, "noise": 3.0}
    assert make_augment("") is make_augment("  ") is None
    for names, message in (
        ("flp", "unknown augmentation 'flp': did you mean 'flip'? known are recolour, flip,"),
        ("color", "did you mean 'colour'"),
        ("flip,", "unknown augmentation ''"),
        ("flip,rotate,flip", "flip is in the list twice"),
        ("flip:2", "flip has no strength; write flip alone"),
        ("rotate:much", "rotate:much: the strength (degrees) must be a number from 0 to 180"),
        ("rotate:nan", "from 0 to 180, as in rotate:15"),
        ("crop:0", "(side) must be a number from 0.1 to 1"),
        ("scale:-1", "from 0 to 4"),
        ("noise:", "from 0 to 128"),
    ):
        with pytest.raises(ConfigError, match=f"--augment={names}.*{re.escape(message)}"):
            parse_augment(names)
    with pytest.raises(ConfigError, match="--augment_outside=wrap: choose one of ignore"):
        make_augment("flip", outside="wrap")
    with pytest.raises(ConfigError, match="--augment_interpolation=cubic"):
        make_augment("flip", interpolation="cubic")
    with pytest.raises(ConfigError, match="rotate90 needs square images, not 8x16"):
        jax.eval_shape(make_augment("rotate90"), jax.random.key(0), batch_of(height=8))


@pytest.mark.parametrize("names", [*AUGMENTATIONS, ALL])
def test_each_image_draws_for_itself_and_the_same_again(names):
    batch = {name: jnp.repeat(array, 4, axis=0) for name, array in batch_of(1).items()}
    pinned = recipe.pinned("augment")
    weights, kinds = np.random.default_rng(0).random((4, SIZE, SIZE, 5)), []
    for seed in range(4):
        once, again = (jitted(names)(jax.random.key(seed), batch) for _ in range(2))
        for name, array in batch.items():
            assert (once[name].shape, once[name].dtype) == (array.shape, array.dtype)
            np.testing.assert_array_equal(once[name], again[name])
            # As it was drawn before; other processors round a few values otherwise.
            cut = weights[..., 0] if name == "valid" else weights[..., : array.shape[3]]
            total = np.sum(cut * np.asarray(once[name]))
            assert total == pytest.approx(pinned[names][name][seed], 1e-3)
        kinds.append({np.asarray(image).tobytes() for image in once["images"]})
    counts = [len(kind) for kind in kinds]
    # Flips have two outcomes; four alike, four times over, have a chance of 2e-4, once and for all.
    assert max(counts) >= 2 if names.startswith(("flip", "rotate90")) else min(counts) == 4
    assert len(set.union(*kinds)) > max(counts) or names.startswith(("flip", "rotate90"))


def test_four_devices_give_what_one_gives_and_every_pair_goes_together():
    batch, key, names = batch_of(), jax.random.key(3), "recolour,rotate90,rotate"
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
    spread = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("batch")))
    one, four = jitted(names)(key, batch), jitted(names)(key, spread)
    assert len(four["masks"].sharding.device_set) == 4
    np.testing.assert_array_equal(one["masks"], four["masks"])
    np.testing.assert_array_equal(one["valid"], four["valid"])
    # A fused multiply-add may move a value across a rounding boundary.
    assert np.abs(np.int32(one["images"]) - np.int32(four["images"])).max() <= 1
    # An added augmentation leaves the draws of the others.
    alone, joined = jitted("flip")(key, batch), jitted("flip,noise,colour")(key, batch)
    np.testing.assert_array_equal(alone["masks"], joined["masks"])
    for pair in itertools.combinations(AUGMENTATIONS, 2):
        out = jax.eval_shape(make_augment(",".join(pair)), key, batch)
        assert out == jax.eval_shape(lambda: batch)


@pytest.mark.parametrize(
    ("names", "turns"),
    [
        ("flip", [lambda a: a, lambda a: a[:, ::-1]]),
        ("flip_vertical", [lambda a: a, lambda a: a[::-1]]),
        ("rotate90", QUARTERS),
        ("flip,rotate90", [*QUARTERS, *(lambda a, q=q: q(a[:, ::-1]) for q in QUARTERS)]),
    ],
)
def test_exact_turns_are_equally_likely_and_the_same_inside_the_affine_map(names, turns):
    batch = batch_of(64)
    out, mapped = (jitted(each)(jax.random.key(1), batch) for each in (names, f"{names},rotate:0"))
    for name in batch:
        np.testing.assert_array_equal(out[name], mapped[name])

    def is_turn(turn, i):
        return all(np.array_equal(out[key][i], turn(batch[key][i])) for key in batch)

    same = np.array([[is_turn(turn, i) for i in range(64)] for turn in turns])
    assert np.all(same.sum(0) == 1)
    assert np.abs(same.sum(1) - 64 / len(turns)).max() < 16  # 4 standard deviations


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), outside=st.sampled_from(["ignore", "background", "reflect"]))
def test_image_masks_and_valid_stay_together(seed, outside):
    batch = batch_of(seed=seed)
    nearest = jitted(GEOMETRY, interpolation="nearest", outside=outside)
    out = nearest(jax.random.key(seed), batch)
    np.testing.assert_array_equal(out["images"], out["masks"][..., :3])
    for channel, value in enumerate(VALUES):
        assert set(np.unique(out["masks"][..., channel])) <= {0, value}
    marked = np.asarray(out["masks"][..., 0] > 0)
    if outside == "background":
        assert np.all(out["valid"] | ~marked)
    else:
        np.testing.assert_array_equal(out["valid"], marked)


@pytest.mark.parametrize(("interpolation", "order"), [("bilinear", 1), ("nearest", 0)])
@pytest.mark.parametrize("outside", ["ignore", "background", "reflect"])
def test_affine_map_agrees_with_scipy(interpolation, order, outside):
    rng = np.random.default_rng(0)
    image, valid = rng.integers(0, 256, (12, 16, 3), np.uint8), rng.random((12, 16)) < 0.7
    batch = {"images": jnp.asarray(image[None]), "masks": jnp.asarray(image[None])}
    with_valid = {**batch, "valid": jnp.asarray(valid[None])}
    matrix, shift = np.array([[0.83, 0.31], [-0.47, 1.09]]), np.array([1.37, -2.21])
    options = {"interpolation": interpolation, "outside": outside}
    resample = functools.partial(augment._resample, **options)
    given = jnp.float32(matrix[None]), jnp.float32(shift[None])
    out, bare = (jax.jit(resample)(one, *given) for one in (with_valid, batch))
    for name in batch:
        np.testing.assert_array_equal(bare[name], out[name])
    # Strength nought changes nothing.
    still = jitted("crop:1,scale:0,rotate:0,translate:0,colour:0,noise:0", **options)
    unchanged = still(jax.random.key(0), with_valid)
    for name, array in with_valid.items():
        np.testing.assert_array_equal(unchanged[name], array)
    centre = (np.array(image.shape[:2]) - 1) / 2
    offset = centre + shift - matrix @ centre
    y, x = np.moveaxis(np.stack(np.indices((12, 16)), -1) @ matrix.T + offset, -1, 0)
    inside = (y > -0.5) & (y < 11.5) & (x > -0.5) & (x < 15.5)
    assert 20 < inside.sum() < inside.size
    mode = "reflect" if outside == "reflect" else "nearest"

    def expected(plane, order):
        read = ndimage.affine_transform(np.float64(plane), matrix, offset, order=order, mode=mode)
        return read if outside == "reflect" else read * inside

    for channel, plane in enumerate(np.moveaxis(image, -1, 0)):
        read, mask = (out[name][0, ..., channel] for name in batch)
        np.testing.assert_allclose(read, expected(plane, order), atol=0.51 * order)
        np.testing.assert_array_equal(mask, expected(plane, 0))
    # What lies beyond the border does not count, or is background, which does.
    counts = expected(valid, 0) > 0
    counts |= ~inside & (outside == "background")
    np.testing.assert_array_equal(out["valid"][0], counts)
    if outside == "ignore":
        np.testing.assert_array_equal(bare["valid"][0], inside)
    else:
        assert "valid" not in bare


def draw(names, count=512, height=20, width=10):
    strengths = parse_augment(names)
    keys = {name: jax.random.fold_in(jax.random.key(0), _STREAMS[name]) for name in strengths}
    drawn = jax.jit(lambda: augment._draw_affine(keys, strengths, (count, height, width)))()
    return tuple(map(np.asarray, drawn))


def test_what_is_drawn_is_uniform_and_a_crop_never_leaves_the_image():
    """Which way a draw goes is fixed too, or a seed would not mean the same images."""
    (turn, still), (zoom, _), (_, slide) = map(draw, ("rotate:30", "scale:1", "translate:0.2"))
    for name, unit in (
        ("rotate", np.degrees(np.arctan2(turn[:, 0, 1], turn[:, 0, 0])) / 30),
        ("scale", -np.log2(zoom[:, 0, 0])),
        ("translate", slide / [-0.2 * 20, -0.2 * 10]),
    ):
        key = jax.random.fold_in(jax.random.key(0), _STREAMS[name])
        draws = jax.random.uniform(key, unit.shape, minval=-1.0, maxval=1.0)
        np.testing.assert_allclose(unit, draws, atol=3e-5)
    np.testing.assert_allclose(np.linalg.det(turn), 1, rtol=1e-5)
    assert not still.any()
    np.testing.assert_array_equal(zoom[:, 0, 0], zoom[:, 1, 1])
    matrix, shift = draw("crop:0.4")
    sides = matrix[:, 0, 0]
    assert 0.4 <= sides.min() < 0.41
    assert 0.99 < sides.max() <= 1
    reach = np.abs(shift) + sides[:, None] * np.array([20, 10]) / 2
    assert np.all(reach <= np.array([10, 5]) + 1e-5)
    out = jitted("crop:0.4")(jax.random.key(0), batch_of(64, valid=False))
    assert np.all(out["valid"])
    # The composition is the product.
    each = ["crop:0.5", "scale:0.5", "rotate:40", "translate:0.2"]
    (crop, moved), (zoom, _), (turn, _), (_, slide) = map(draw, each)
    matrix, shift = draw(",".join(each))
    np.testing.assert_allclose(matrix, turn @ zoom @ crop, atol=1e-5)
    want = np.einsum("bij,bjk,bk->bi", turn, zoom, moved) + slide
    np.testing.assert_allclose(shift, want, atol=1e-4)


def test_recolour_keeps_regions_and_background_and_draws_uniform_independent_colours():
    """Two flat objects of one class, with another class drawn over the first."""
    count = 4000
    images, masks = np.zeros((count, 12, 12, 3), np.uint8), np.zeros((count, 12, 12, 2), np.uint8)
    for (rows, columns), colour, channel in [
        ((slice(1, 6), slice(1, 6)), (7, 90, 200), 0),
        ((slice(7, 11), slice(7, 11)), (7, 91, 200), 0),
        ((slice(4, 8), slice(3, 6)), (200, 10, 10), 1),
    ]:
        images[:, rows, columns], masks[:, rows, columns, channel] = colour, 50
    images[:, 0, 0] = 77  # outside every mask
    out = jitted("recolour")(jax.random.key(0), {"images": images, "masks": masks})
    np.testing.assert_array_equal(out["masks"], masks)
    old, new = (np.int64(given)[0] @ [65536, 256, 1] for given in (images, out["images"]))
    inside = (masks[0] > 0).any(-1)
    np.testing.assert_array_equal(new[~inside], old[~inside])
    pairs = set(zip(old[inside].tolist(), new[inside].tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == 3
    assert all(a != b for a, b in pairs)
    # Of the two objects, whose old colours differ by 1 in one channel, and of what is over them.
    colours = np.float64(out["images"][:, (2, 9, 6), (1, 9, 4)]).reshape(count, 9)
    error = np.sqrt((256**2 - 1) / 12 / count)
    assert np.abs(colours.mean(0) - 127.5).max() < 4.5 * error
    off_diagonal = np.corrcoef(colours, rowvar=False)[~np.eye(9, dtype=bool)]
    assert np.abs(off_diagonal).max() < 4.5 / np.sqrt(count)
    for channel in range(9):
        counts, _ = np.histogram(colours[:, channel], bins=16, range=(0, 256))
        assert np.sum((counts - count / 16) ** 2) / (count / 16) < 45  # chi-squared, 15 degrees


def test_colour_jitter_stays_within_its_factors_and_noise_has_its_deviation():
    flat = jnp.full((256, 4, 4, 3), 100, jnp.uint8)
    out = np.asarray(augment._jitter_colour(jax.random.key(0), flat, 0.1), np.float64)
    # A flat grey has no contrast: only brightness and channel factors are left, 0.81 to 1.21.
    assert 81 <= out.min() <= out.max() <= 121
    assert out.max() - out.min() > 25
    gains = out[:, 0, 0]
    assert np.corrcoef(gains, rowvar=False)[0, 1] < 0.8  # channels have factors of their own
    contrast = batch_of(256, valid=False)["images"]
    jittered = augment._jitter_colour(jax.random.key(1), contrast, 0.1)
    after, before = (np.asarray(images).std(axis=(1, 2, 3)) for images in (jittered, contrast))
    ratio = after / before
    assert 0.72 < ratio.min() < 0.95
    assert 1.05 < ratio.max() < 1.34
    flat = jnp.full((16, 32, 32, 3), 128, jnp.uint8)
    out = np.asarray(augment._add_noise(jax.random.key(0), flat, 10.0), np.float64) - 128
    assert abs(out.std() - np.sqrt(100 + 1 / 12)) < 0.2
    assert abs(out.mean()) < 0.2
