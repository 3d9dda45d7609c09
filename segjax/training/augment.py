"""Random changes of training images as pure functions, the same for image, masks and ``valid``.

A batch is a dict of 'images' uint8 [B, H, W, 3], 'masks' uint8 [B, H, W, C] and, where some pixels
have no truth, 'valid' bool [B, H, W]. Each image draws for itself. Geometry is composed into one
affine map and sampled once, so that crop, scale, rotate and translate together cost and blur no
more than one of them.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from segjax.augment_table import (
    AUGMENTATIONS,
    INTERPOLATION,
    OUTSIDE,
    check_augment,
    parse_augment,
)
from segjax.errors import ConfigError

__all__ = ["AUGMENTATIONS", "Augment", "check_augment", "make_augment"]

Array = jax.Array
Batch = dict[str, Array]
Augment = Callable[[Array, Batch], Batch]

_AFFINE = ("crop", "scale", "rotate", "translate")
# Each augmentation has a random stream of its own, so that adding one leaves the others' draws.
_STREAMS = {name: number for number, name in enumerate(sorted(AUGMENTATIONS))}


def make_augment(
    names: str, *, interpolation: str = "bilinear", outside: str = "ignore"
) -> Augment | None:
    """Return the pure, jittable function (key, batch) -> batch for a list of names.

    They are applied in the table's order: recolour, flips and quarter turns, then one affine map
    (crop, scale, rotate, translate), then colour and noise.

    Args:
      names: for instance ``flip,rotate:15,colour``; see `segjax.augment_table`. Empty: None.
      interpolation: how the affine map reads images: 'bilinear', or 'nearest', which keeps flat
        colours flat. Masks and ``valid`` are always read by the nearest pixel, so no value arises
        that was not there.
      outside: what pixels from beyond the border become. 'ignore': image 0, mask 0 and not valid
        (the batch gets 'valid' if it had none). 'background': image 0, mask 0, valid, which is
        exact for images on black. 'reflect': image, mask and valid of the mirrored pixel.

    Returns:
      The function, or None if ``names`` is empty. Shapes and dtypes stay; the output is a function
      of key and batch alone.

    Raises:
      ConfigError: as `parse_augment`, or for an unknown ``interpolation`` or ``outside``. The
        function raises it at trace time if rotate90 is given images that are not square.
    """
    _check_choice("interpolation", interpolation, INTERPOLATION)
    _check_choice("outside", outside, OUTSIDE)
    strengths = parse_augment(names)
    if not strengths:
        return None
    affine = {name: strengths[name] for name in _AFFINE if name in strengths}

    def augment(key: Array, batch: Batch) -> Batch:
        def key_of(name: str) -> Array:
            return jax.random.fold_in(key, _STREAMS[name])

        out = dict(batch)
        count = batch["images"].shape[0]
        if "recolour" in strengths:
            out["images"] = _recolour(key_of("recolour"), out["images"], out["masks"])
        if "rotate90" in strengths:
            _check_square(out["images"])
        turns = _draw_turns(key_of, strengths, count)
        if affine:
            height, width = out["images"].shape[1:3]
            matrix, shift = _draw_affine(key_of, affine, count, height, width)
            # Part of the map: as a step before it, XLA:CPU works it out again for every read.
            matrix, shift = _turn_map(turns, matrix, shift)
            out = _resample(out, matrix, shift, interpolation=interpolation, outside=outside)
        else:
            out = {name: _turn(array, turns) for name, array in out.items()}
        if "colour" in strengths:
            out["images"] = _jitter_colour(key_of("colour"), out["images"], strengths["colour"])
        if "noise" in strengths:
            out["images"] = _add_noise(key_of("noise"), out["images"], strengths["noise"])
        return out

    return augment


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"--augment_{name}={value}: choose one of {', '.join(choices)}")


def _check_square(images: Array) -> None:
    height, width = images.shape[1:3]
    if height != width:
        raise ConfigError(
            f"--augment: rotate90 needs square images, not {height}x{width}; use flip,flip_vertical"
        )


def _draw_turns(
    key_of: Callable[[str], Array], strengths: Mapping[str, float], count: int
) -> dict[str, Array]:
    """Draw bool [B] for each exact change: flip, then flip_vertical, then a quarter turn.

    A half turn is both flips, so a number of quarter turns needs no more than these three.
    """
    turns = {
        name: jax.random.bernoulli(key_of(name), 0.5, (count,))
        for name in ("flip", "flip_vertical")
        if name in strengths
    }
    if "rotate90" in strengths:
        quarters = jax.random.randint(key_of("rotate90"), (count,), 0, 4)
        half = quarters >= 2
        turns = {name: turns.get(name, False) ^ half for name in ("flip", "flip_vertical")}
        turns["quarter"] = quarters % 2 == 1
    return turns


# The exact changes: of an array [B, H, W, ...], and of the rows [B, 2, 3] of an affine map that
# reads from it, so that it reads what the change would have put there.
_EXACT: Mapping[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "flip": (lambda a: jnp.flip(a, 2), lambda rows: rows * jnp.array([[[1.0], [-1.0]]])),
    "flip_vertical": (lambda a: jnp.flip(a, 1), lambda rows: rows * jnp.array([[[-1.0], [1.0]]])),
    "quarter": (
        lambda a: jnp.rot90(a, axes=(1, 2)),
        lambda rows: jnp.stack([rows[:, 1], -rows[:, 0]], axis=1),
    ),
}


def _turn(array: Array, turns: Mapping[str, Array]) -> Array:
    """Flip and turn [B, H, W, ...] exactly; a quarter turn is counter-clockwise."""
    for name, chosen in turns.items():
        array = _where(chosen, _EXACT[name][0](array), array)
    return array


def _turn_map(turns: Mapping[str, Array], matrix: Array, shift: Array) -> tuple[Array, Array]:
    """Let an affine map read from the images that `_turn` would make."""
    rows = jnp.concatenate([matrix, shift[..., None]], axis=-1)
    # From the last change back to the first: this is where a pixel of the result comes from.
    for name, chosen in reversed(list(turns.items())):
        rows = _where(chosen, _EXACT[name][1](rows), rows)
    return rows[..., :2], rows[..., 2]


def _where(chosen: Array, changed: Array, array: Array) -> Array:
    """Take ``changed`` where an image is ``chosen``, bool [B], and ``array`` elsewhere."""
    return jnp.where(chosen.reshape(-1, *(1,) * (array.ndim - 1)), changed, array)


def _recolour(key: Array, images: Array, masks: Array) -> Array:
    """Give each colour inside the masks a random new one; pixels outside all masks stay.

    Two pixels of an image that shared a colour still do, and colours that differed become
    independent draws: the new colour is a hash of the old one and of a number drawn per image. So
    objects of one class are told apart by their colours, and overlaps need no care.
    """
    salts = jax.random.bits(key, (images.shape[0], 3), jnp.uint32)[:, None, None, :]
    old = images.astype(jnp.uint32)
    packed = (old[..., 0] << 16) | (old[..., 1] << 8) | old[..., 2]
    # One round before the channel's own salt: neighbouring colours must not stay neighbours.
    mixed = _mix(_mix(packed[..., None] + salts[..., :1]) ^ salts)
    new = (mixed >> 24).astype(jnp.uint8)
    inside = jnp.any(masks > 0, axis=-1, keepdims=True)
    return jnp.where(inside, new, images)


def _mix(word: Array) -> Array:
    """Return a well-mixed bijection of uint32 words (the finalizer of MurmurHash3, A. Appleby)."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def _draw_affine(
    key_of: Callable[[str], Array],
    strengths: Mapping[str, float],
    count: int,
    height: int,
    width: int,
) -> tuple[Array, Array]:
    """Draw for each image the map from output to source pixels, relative to the centre.

    Returns matrix float32 [B, 2, 2] and shift float32 [B, 2], in pixels, (row, column) order:
    source = matrix @ output + shift. An output point is first looked up in the cropped window,
    then scaled, turned and moved back.
    """
    size = jnp.array([[height, width]], jnp.float32)
    matrix = jnp.broadcast_to(jnp.eye(2, dtype=jnp.float32), (count, 2, 2))
    shift = jnp.zeros((count, 2), jnp.float32)

    def uniform(name: str, shape: tuple[int, ...], low: float = -1.0) -> Array:
        return jax.random.uniform(key_of(name), shape, minval=low, maxval=1.0)

    if "crop" in strengths:
        draws = uniform("crop", (count, 3))
        least = strengths["crop"]
        side = least + (1.0 - least) * (draws[:, :1] + 1.0) / 2.0
        matrix = matrix * side[..., None]
        shift = draws[:, 1:] * (1.0 - side) / 2.0 * size
    if "scale" in strengths:
        # Uniform in the logarithm, so that doubling is as likely as halving.
        zoom = (1.0 + strengths["scale"]) ** uniform("scale", (count, 1))
        matrix, shift = matrix / zoom[..., None], shift / zoom
    if "rotate" in strengths:
        angle = jnp.deg2rad(strengths["rotate"]) * uniform("rotate", (count,))
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        turn = jnp.stack([jnp.stack([cos, sin], -1), jnp.stack([-sin, cos], -1)], -2)
        # Written out: a matrix product may run in a lower precision on an accelerator.
        matrix = jnp.sum(turn[:, :, :, None] * matrix[:, None, :, :], axis=2)
        shift = jnp.sum(turn * shift[:, None, :], axis=-1)
    if "translate" in strengths:
        shift = shift - strengths["translate"] * uniform("translate", (count, 2)) * size
    return matrix, shift


def _resample(
    batch: Batch, matrix: Array, shift: Array, *, interpolation: str, outside: str
) -> Batch:
    """Read each output pixel at ``matrix @ pixel + shift`` of the source, about the centre."""
    height, width = batch["images"].shape[1:3]
    down = jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2
    right = jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2

    def source(axis: int, size: int) -> Array:
        """Source coordinate along one axis, [B, H, W], in pixels from the first pixel's centre."""
        along_rows = matrix[:, axis, 0, None, None] * down[None, :, None]
        along_columns = matrix[:, axis, 1, None, None] * right[None, None, :]
        return along_rows + along_columns + shift[:, axis, None, None] + (size - 1) / 2

    y, x = source(0, height), source(1, width)
    if outside == "reflect":
        y, x = _reflect(y, height), _reflect(x, width)
    row, column = jnp.floor(y + 0.5), jnp.floor(x + 0.5)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)

    def gather(array: Array, rows: Array, columns: Array) -> Array:
        """Read pixels; coordinates beyond the border mean its nearest pixel."""
        rows = jnp.clip(rows, 0, height - 1).astype(jnp.int32)
        columns = jnp.clip(columns, 0, width - 1).astype(jnp.int32)
        pixels = array.reshape(array.shape[0], height * width, -1)
        index = (rows * width + columns).reshape(array.shape[0], -1, 1)
        taken = jnp.take_along_axis(pixels, index, axis=1, mode="promise_in_bounds")
        return taken.reshape(array.shape)

    out = {name: gather(v, row, column) for name, v in batch.items() if name != "images"}
    if interpolation == "nearest":
        out["images"] = gather(batch["images"], row, column)
    else:
        top, left = jnp.floor(y), jnp.floor(x)
        below, beside = (y - top)[..., None], (x - left)[..., None]
        upper, lower = (
            gather(batch["images"], r, left).astype(jnp.float32) * (1 - beside)
            + gather(batch["images"], r, left + 1).astype(jnp.float32) * beside
            for r in (top, top + 1)
        )
        out["images"] = _to_uint8(upper * (1 - below) + lower * below)
    if outside == "reflect":
        return out
    for name in ("images", "masks"):
        out[name] = jnp.where(inside[..., None], out[name], jnp.zeros_like(out[name]))
    if outside == "ignore":
        out["valid"] = inside & out.get("valid", jnp.ones_like(inside))
    elif "valid" in out:
        out["valid"] = out["valid"] | ~inside
    return out


def _reflect(position: Array, size: int) -> Array:
    """Fold a coordinate back into -0.5 .. size - 0.5, mirroring at the image's edges."""
    folded = jnp.mod(position + 0.5, 2.0 * size)
    return jnp.minimum(folded, 2.0 * size - folded) - 0.5


def _jitter_colour(key: Array, images: Array, strength: float) -> Array:
    """Multiply contrast (about the image's mean), brightness and each channel by random factors."""
    draws = jax.random.uniform(
        key, (images.shape[0], 1, 1, 5), minval=1.0 - strength, maxval=1.0 + strength
    )
    contrast, brightness, channels = draws[..., :1], draws[..., 1:2], draws[..., 2:]
    values = images.astype(jnp.float32)
    mean = jnp.mean(values, axis=(1, 2, 3), keepdims=True)
    return _to_uint8(((values - mean) * contrast + mean) * (brightness * channels))


def _add_noise(key: Array, images: Array, deviation: float) -> Array:
    """Add independent normal noise to each value."""
    noise = jax.random.normal(key, images.shape, jnp.float32)
    return _to_uint8(images.astype(jnp.float32) + deviation * noise)


def _to_uint8(values: Array) -> Array:
    return jnp.clip(jnp.round(values), 0.0, 255.0).astype(jnp.uint8)
