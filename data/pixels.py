"""A picture that Pillow has opened, as a viewer shows it: upright, on white, 8 bits per channel."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageOps

# TIFF's tags: BitsPerSample, and PhotometricInterpretation, which is 0 where 0 is white.
_BITS, _PHOTOMETRIC = 258, 262
# PNG gives its transparent colour in the file's own depth, while Pillow brings the pixels to 8 bits.
_PNG_GREYS = {"L;2": 85, "L;4": 17}


class UnsuitableImage(ValueError):
    """A whole picture that cannot be shown; the message says why."""


def on_white(image: Image.Image) -> np.ndarray:
    """What a viewer shows of a picture, uint8 `[h, w, 3]`, RGB.

    The EXIF orientation is obeyed; what is transparent is on white. Colour profiles are not applied: a picture in a
    wide gamut looks a little paler than in a viewer that applies them.

    Raises:
        UnsuitableImage: nothing says how bright its values are.
    """
    upright = ImageOps.exif_transpose(to_8_bits(image))
    if upright.has_transparency_data:
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
    return np.asarray(upright.convert("RGB"))


def to_8_bits(image: Image.Image) -> Image.Image:
    """The picture with 8 bits per channel, in any of Pillow's modes for such, transparency and orientation kept.

    Raises:
        UnsuitableImage: as `on_white`.
    """
    key: Any = image.info.get("transparency")
    # The depth is known until the pixels are loaded only.
    tiles = getattr(image, "tile", None)
    raw_mode = tiles[0].args if tiles and key is not None else None
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_8_bits(image, key)
    if raw_mode in _PNG_GREYS:
        image.info["transparency"] = key * _PNG_GREYS[raw_mode]
    elif raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)
    return image


def _grey_to_8_bits(image: Image.Image, transparent: int | None) -> Image.Image:
    """Grey of 16 bits, of 32 bits that hold 16, or of fractions from 0 to 1."""
    tags = getattr(image, "tag_v2", {})
    values = np.asarray(image)
    low, high = values.min(), values.max()
    white = 1.0 if image.mode == "F" else 65535.0
    if image.mode.startswith("I;16"):
        white = 2.0 ** tags.get(_BITS, (16,))[0] - 1
    # 8-bit values in 32 bits would be black by the same rule, and are refused rather than guessed at.
    elif not 0 <= low <= high <= white or (image.mode == "I" and 0 < high <= 255):
        raise UnsuitableImage(
            f"has 32-bit values from {low:g} to {high:g}, and nothing says which of them is white: "
            "save it with 8 or 16 bits"
        )
    grey = np.rint(values / white * 255).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:
        grey = 255 - grey
    flat = Image.fromarray(grey)
    if transparent is not None:
        flat.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    flat.info.update({key: value for key, value in image.info.items() if key != "transparency"})
    return flat
