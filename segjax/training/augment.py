"""Random changes of training images as pure functions, the same for image, masks and ``valid``.

A batch is a dict of 'images' uint8 [B, H, W, 3], 'masks' uint8 [B, H, W, C] and, where some pixels
have no truth, 'valid' bool [B, H, W]. Each image draws for itself. Geometry is composed into one
affine map and sampled once, so that crop, scale, rotate and translate together cost and blur no
more than one of them.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array

from segjax.augment_table import AUGMENTATIONS, INTERPOLATION, OUTSIDE, parse_augment
from segjax.errors import ConfigError, check_choice

Batch = dict[str, Array]
Augment = Callable[[Array, Batch], Batch]

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
    check_choice(f"--augment_interpolation={interpolation}", interpolation, INTERPOLATION)
    check_choice(f"--augment_outside={outside}", outside, OUTSIDE)
    strengths = parse_augment(names)
    if not strengths:
        return None

    def augment(key: Array, batch: Batch) -> Batch:
        keys = {name: jax.random.fold_in(key, _STREAMS[name]) for name in strengths}
        out, (count, height, width, _) = dict(batch), batch["images"].shape
        if "rotate90" in keys and height != width:
            raise ConfigError(
                f"--augment: rotate90 needs square images, not {height}x{width}; "
                "use flip,flip_vertical"
            )
        if "recolour" in keys:
            out["images"] = _recolour(keys["recolour"], out["images"], out["masks"])
        turns = _draw_turns(keys, count)
        if keys.keys() & {"crop", "scale", "rotate", "translate"}:
            matrix, shift = _draw_affine(keys, strengths, (count, height, width))
            # Part of the map: as a step before it, XLA:CPU works it out again for every read.
            matrix, shift = _turn_map(turns, matrix, shift)
            out = _resample(out, matrix, shift, interpolation=interpolation, outside=outside)
        else:
            for name, chosen in turns.items():
                turn, _ = _EXACT[name]
                out = {of: _where(chosen, turn(array), array) for of, array in out.items()}
        for name, change in (("colour", _jitter_colour), ("noise", _add_noise)):
            if name in keys:
                out["images"] = change(keys[name], out["images"], strengths[name])
        return out

    return augment


def _draw_turns(keys: Mapping[str, Array], count: int) -> dict[str, Array]:
    """Draw bool [B] for each exact change: flip, then flip_vertical, then a quarter turn."""
    flips = ("flip", "flip_vertical")
    turns = {n: jax.random.bernoulli(keys[n], 0.5, (count,)) for n in flips if n in keys}
    if "rotate90" in keys:
        quarters = jax.random.randint(keys["rotate90"], (count,), 0, 4)
        # A half turn is both flips.
        turns = {name: turns.get(name, False) ^ (quarters >= 2) for name in flips}
        turns["quarter"] = quarters % 2 == 1
    return turns


# The exact changes: of an array [B, H, W, ...], and of the rows [B, 2, 3] of an affine map that
# reads from it, so that it reads what the change would have put there. A quarter turn is
# counter-clockwise.
_EXACT: Mapping[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "flip": (lambda a: jnp.flip(a, 2), lambda rows: rows * jnp.array([[[1.0], [-1.0]]])),
    "flip_vertical": (lambda a: jnp.flip(a, 1), lambda rows: rows * jnp.array([[[-1.0], [1.0]]])),
    "quarter": (
        lambda a: jnp.rot90(a, axes=(1, 2)),
        lambda rows: jnp.stack([rows[:, 1], -rows[:, 0]], axis=1),
    ),
}


def _turn_map(turns: Mapping[str, Array], matrix: Array, shift: Array) -> tuple[Array, Array]:
    """Let an affine map read from the images that the exact changes would make."""
    rows = jnp.concatenate([matrix, shift[..., None]], axis=-1)
    # From the last change back to the first: this is where a pixel of the result comes from.
    for name, chosen in reversed(list(turns.items())):
        rows = _where(chosen, _EXACT[name][1](rows), rows)
    return rows[..., :2], rows[..., 2]


def _where(chosen: Array, changed: Array, array: Array) -> Array:
    """Take ``changed`` where an image is ``chosen``, bool [B], and ``array`` elsewhere."""
    return jnp.where(chosen.reshape(-1, *(1,) * (array.ndim - 1)), changed, array)


def _recolour(key: Array, images: Array, masks: Array) -> Array:
    """Give each colour inside the masks a new one: a hash of it and of a number drawn per image.

    So objects of one class are told apart by their colours, and overlaps need no care.
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
    keys: Mapping[str, Array], strengths: Mapping[str, float], shape: tuple[int, int, int]
) -> tuple[Array, Array]:
    """Draw for images [B, H, W] the map from output to source pixels, relative to the centre.

    Source = matrix [B, 2, 2] @ output + shift [B, 2], in (row, column) order. An output point is
    first looked up in the cropped window, then scaled, turned and moved back.
    """
    count, *size = shape
    sides = jnp.array([size], jnp.float32)
    matrix = jnp.broadcast_to(jnp.eye(2, dtype=jnp.float32), (count, 2, 2))
    shift = jnp.zeros((count, 2), jnp.float32)

    def uniform(name: str, *numbers: int) -> Array:
        return jax.random.uniform(keys[name], (count, *numbers), minval=-1.0, maxval=1.0)

    if "crop" in strengths:
        draws, least = uniform("crop", 3), strengths["crop"]
        share = least + (1.0 - least) * (draws[:, :1] + 1.0) / 2.0
        matrix = matrix * share[..., None]
        shift = draws[:, 1:] * (1.0 - share) / 2.0 * sides
    if "scale" in strengths:
        # Uniform in the logarithm, so that doubling is as likely as halving.
        zoom = (1.0 + strengths["scale"]) ** uniform("scale", 1)
        matrix, shift = matrix / zoom[..., None], shift / zoom
    if "rotate" in strengths:
        angle = jnp.deg2rad(strengths["rotate"]) * uniform("rotate")
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        turn = jnp.stack([jnp.stack([cos, sin], -1), jnp.stack([-sin, cos], -1)], -2)
        # Written out: a matrix product may run in a lower precision on an accelerator.
        matrix = jnp.sum(turn[:, :, :, None] * matrix[:, None, :, :], axis=2)
        shift = jnp.sum(turn * shift[:, None, :], axis=-1)
    if "translate" in strengths:
        shift = shift - strengths["translate"] * uniform("translate", 2) * sides
    return matrix, shift


def _resample(
    batch: Batch, matrix: Array, shift: Array, *, interpolation: str, outside: str
) -> Batch:
    """Read each output pixel at ``matrix @ pixel + shift`` of the source, about the centre."""
    height, width = batch["images"].shape[1:3]
    down = jnp.arange(height, dtype=jnp.float32)[None, :, None] - (height - 1) / 2
    right = jnp.arange(width, dtype=jnp.float32)[None, None, :] - (width - 1) / 2
    # Source coordinates [B, H, W], in pixels from the first pixel's centre.
    of_row, of_column, moved = (v[..., None, None] for v in (matrix[..., 0], matrix[..., 1], shift))
    y, x = (
        of_row[:, axis] * down + of_column[:, axis] * right + moved[:, axis] + (size - 1) / 2
        for axis, size in enumerate((height, width))
    )
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
