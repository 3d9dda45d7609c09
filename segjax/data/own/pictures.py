"""Reading one picture or mask file into an array, by stated rules and with named failures."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from segjax.data.own.problems import FileProblemError
from segjax.files import regular

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# Pictures by their name that are not read; other files (notes, thumbnails' databases) are none.
OTHER_SUFFIXES = (".gif", ".webp", ".heic", ".heif", ".avif", ".jp2", ".ppm", ".pgm", ".tga")

_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange height and width
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def read_image(path: Path, *, upright: bool = True) -> np.ndarray:
    """Read a picture as uint8 RGB [H, W, 3].

    Grey becomes three equal channels. Transparent pixels are laid over black. A palette is
    looked up. 16-bit grey is divided by 257, the same for every picture; of 16-bit colour Pillow
    keeps the upper byte. CMYK and the like are converted. Colour profiles are not applied.
    ``upright`` applies the EXIF orientation (TIFF files always come upright).

    Raises:
      FileProblemError: if the file cannot be read by these rules.
    """
    with _opened(path, kind="unreadable image") as picture:
        if upright:
            picture = ImageOps.exif_transpose(picture)
        if picture.mode in _WIDE_MODES:
            wide = np.asarray(picture)
            if wide.min() < 0 or wide.max() > 65535:
                raise FileProblemError("pixel type", f"values {wide.min()} to {wide.max()}")
            grey = ((wide.astype(np.uint32) + 128) // 257).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        if picture.mode == "F":
            raise FileProblemError("pixel type", "floating-point pixels")
        if picture.has_transparency_data:
            colour = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour)
        return np.array(picture.convert("RGB"), np.uint8)


def read_labels(path: Path) -> np.ndarray:
    """Read a mask's values as stored: [H, W], or uint8 [H, W, 3] if its colours are the values.

    Palette indices are taken, not the palette's colours. A colour picture whose three channels
    are equal is grey. The EXIF orientation, if any, is applied.

    Raises:
      FileProblemError: if the file cannot be read, or is a JPEG, whose values are not exact.
    """
    with _opened(path, kind="unreadable mask") as picture:
        if picture.format in ("JPEG", "MPO"):
            raise FileProblemError("lossy mask")
        picture = ImageOps.exif_transpose(picture)
        stored = np.array(picture)
        if picture.mode in ("1", "P", "L", *_WIDE_MODES):
            return stored.astype(np.uint8) if picture.mode == "1" else stored
        if picture.mode not in ("LA", "PA", "RGB", "RGBA"):
            raise FileProblemError("colour mask", f"mode {picture.mode}")
        colours = stored[..., : 1 if picture.mode in ("LA", "PA") else 3]
        return colours[..., 0] if (colours == colours[..., :1]).all() else colours


def values_of(labels: np.ndarray) -> np.ndarray:
    """Return the different values of an array, sorted; for uint8 far faster than np.unique."""
    if labels.dtype != np.uint8:
        return np.unique(labels)
    return np.flatnonzero(np.bincount(labels.ravel(), minlength=256))


def picture_size(path: Path) -> tuple[int, int]:
    """Return height and width from the file's header, as ``read_image`` will give them.

    Raises:
      FileProblemError: if the header cannot be read.
    """
    with _opened(path, kind="unreadable image", decode=False) as picture:
        width, height = picture.size
        # Pillow has already turned the size of a TIFF.
        sideways = picture.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
        return (width, height) if sideways and picture.format != "TIFF" else (height, width)


@contextlib.contextmanager
def _opened(path: Path, *, kind: str, decode: bool = True) -> Iterator[Image.Image]:
    """Open a picture and decode it; everything that Pillow may raise becomes one error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(regular(path), formats=FORMATS) as picture:
                if decode:
                    # Phones write JPEGs with a second picture for screens of more colours.
                    several = picture.format in ("TIFF", "PNG")
                    if several and (frames := getattr(picture, "n_frames", 1)) > 1:
                        raise FileProblemError("several pages", f"{frames} pages")
                    if picture.format == "PNG":
                        # Decoding does not compare the checksums of the pixel data; this does.
                        with Image.open(path, formats=FORMATS) as again:
                            again.verify()
                    picture.load()
                yield picture
    except FileProblemError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
        raise FileProblemError("too many pixels", limit) from None
    except FileNotFoundError:
        raise FileProblemError(kind, "no such file") from None
    except Exception as error:  # decoders of damaged files raise nearly anything
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        if isinstance(error, Image.UnidentifiedImageError):
            reason = "not a PNG, JPEG, BMP or TIFF, or damaged at the start"
        if path.is_file() and path.stat().st_size == 0:
            reason = "the file is empty"
        raise FileProblemError(kind, reason) from None
