"""What is made of a picture, pure: bytes in, bytes out. Decoded once, by the decoder of its type and no other."""

import io
import math
import re
import struct
import warnings
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

import pillow_heif
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pillow_heif.as_plugin import HeifImageFile

from app.core.clock import LOCAL
from app.media.rules import (
    ANIMATED,
    BROKEN,
    LARGE,
    MAX_PROFILE_BYTES,
    QUALITY,
    SMALL,
    Derived,
    Hint,
    Unprocessable,
    check_pixels,
)


class _StillWebP(WebPImageFile):
    """One frame: the animation decoder, which holds two canvases of 4 bytes a pixel, is freed as soon as it is out."""

    def _get_next(self) -> tuple[bytes, int, int]:
        frame = super()._get_next()
        del self._decoder
        return frame


_DECODERS: dict[str, type[ImageFile]] = {
    "image/jpeg": JpegImageFile,
    "image/png": PngImageFile,
    "image/webp": _StillWebP,
    "image/heic": HeifImageFile,
}
# One photo, one core: the worker's other children use the rest.
pillow_heif.options.DECODE_THREADS = 1
pillow_heif.options.THUMBNAILS = pillow_heif.options.DEPTH_IMAGES = pillow_heif.options.AUX_IMAGES = False

# What decoders and header readers raise on bad bytes. Not MemoryError and not a time limit: those may pass.
_BAD_BYTES = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


def derive(data: bytes, detected_type: str) -> Derived:
    """Both derivatives of an inspected picture, upright, in sRGB, on white; Unprocessable when it does not decode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of broken metadata and trailing bytes; the pixels decide
        try:
            picture = _decoded(data, detected_type)
            exif = _exif(picture)
            upright = _oriented(_in_srgb(_flat(picture), picture), exif, detected_type)
        except _BAD_BYTES as error:
            raise Unprocessable(BROKEN) from error
        hint = Hint(_taken_at(exif), *_position(exif))
    small = upright.resize(_fitted(upright.size, SMALL), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return Derived(_encoded(upright), _encoded(small), *upright.size, dhash(small), hint)


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """`size` scaled so that its long side is at most `side`."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _decoded(data: bytes, detected_type: str) -> ImageFile:
    """The pixels, already reduced where the format can (JPEG: to the smallest eighth that still covers 1600)."""
    picture = _DECODERS[detected_type](io.BytesIO(data))
    check_pixels(detected_type, picture.size)
    if getattr(picture, "n_frames", 1) > 1 and detected_type != "image/heic":
        raise Unprocessable(ANIMATED)
    picture.draft(None, _fitted(picture.size, LARGE))
    picture.load()
    return picture


def _flat(picture: Image.Image) -> Image.Image:
    """At most 1600 px, opaque on white; still in the colours of its profile."""
    size = _fitted(picture.size, LARGE)
    if picture.mode.startswith("I"):
        picture = picture.point(lambda value: value * (1 / 256)).convert("L")
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
    elif picture.mode in {"1", "P"}:
        picture = picture.convert("RGB")
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    if picture.mode != "RGBA":
        return picture
    white = Image.new("RGB", size, "white")
    white.paste(picture, mask=picture)
    return white


def _in_srgb(flat: Image.Image, source: Image.Image) -> Image.Image:
    """As sRGB, through the embedded ICC profile where it is another one (iPhones: Display P3)."""
    profile = source.info.get("icc_profile")
    if flat.mode == "RGB" and profile and len(profile) <= MAX_PROFILE_BYTES:
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(embedded):
                transform = ImageCms.buildTransform(embedded, ImageCms.createProfile("sRGB"), "RGB", "RGB")
                ImageCms.applyTransform(flat, transform, inPlace=True)
        except (ImageCms.PyCMSError, OSError):  # an unusable profile: the plain values are the best guess
            return flat
    return flat.convert("RGB")


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _oriented(image: Image.Image, exif: "Exif", detected_type: str) -> Image.Image:
    """Upright. A HEIC decodes upright: there EXIF repeats what the container already said."""
    turn = None if detected_type == "image/heic" else _TURNS.get(exif.orientation)
    return image if turn is None else image.transpose(turn)


def _encoded(image: Image.Image) -> bytes:
    """WebP, method 0, with nothing in it but pixels."""
    image.info = {}
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=0, exif=b"", xmp=b"", icc_profile=b"")
    return buffer.getvalue()


def dhash(image: Image.Image) -> int:
    """64 bits of which neighbour is brighter (difference hash, 9 × 8), as a signed number for a bigint column."""
    grey = image.convert("L").resize((9, 8), Image.Resampling.BICUBIC).tobytes()
    bits = 0
    for row in range(8):
        for at in range(row * 9, row * 9 + 8):
            bits = bits << 1 | (grey[at] < grey[at + 1])
    return bits - (1 << 64) if bits >> 63 else bits


class Exif(NamedTuple):
    """The three parts of EXIF that are read, as found."""

    orientation: int = 1
    camera: dict[int, Any] = {}  # noqa: RUF012 - never written to
    gps: dict[int, Any] = {}  # noqa: RUF012 - never written to


_ORIENTATION, _CAMERA, _GPS = 0x0112, 0x8769, 0x8825
_TAKEN, _TAKEN_OFFSET = 0x9003, 0x9011
_LAT_REF, _LAT, _LON_REF, _LON = 1, 2, 3, 4


def _exif(picture: Image.Image) -> Exif:
    """What EXIF there is; unreadable EXIF is none."""
    try:
        found = picture.getexif()
        orientation = found.get(_ORIENTATION)
        camera, gps = dict(found.get_ifd(_CAMERA)), dict(found.get_ifd(_GPS))
    except _BAD_BYTES:
        return Exif()
    return Exif(orientation if isinstance(orientation, int) else 1, camera, gps)


_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")


def _taken_at(exif: Exif) -> datetime | None:
    """When the camera says it was taken, in UTC. Without an offset the camera's clock counts as local time here."""
    found = _TIME.match(str(exif.camera.get(_TAKEN, "")))
    if found is None:
        return None
    try:
        moment = datetime(*map(int, found.groups()), tzinfo=LOCAL)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    offset = _OFFSET.match(str(exif.camera.get(_TAKEN_OFFSET, "")))
    if offset is not None:
        sign = -1 if offset[1] == "-" else 1
        minutes = sign * (int(offset[2]) * 60 + int(offset[3]))
        if abs(minutes) <= 14 * 60:
            moment = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    # A clock that was never set says 1970 or 1980; EXIF itself is from 1995. (Year 9999 has no UTC everywhere.)
    return moment.astimezone(UTC) if 1995 <= moment.year < 2100 else None  # noqa: PLR2004


def _position(exif: Exif) -> tuple[float, float] | tuple[None, None]:
    """Latitude and longitude of the camera in degrees; (None, None) unless both are whole and sensible."""
    lat = _degrees(exif.gps.get(_LAT), exif.gps.get(_LAT_REF), "NS", 90)
    lon = _degrees(exif.gps.get(_LON), exif.gps.get(_LON_REF), "EW", 180)
    if lat is None or lon is None or (lat == 0 and lon == 0):  # a receiver without a fix writes zeros
        return None, None
    return lat, lon


def _degrees(value: object, reference: object, signs: str, limit: int) -> float | None:
    letter = str(reference).strip("\x00 ").upper()
    if not isinstance(value, tuple) or len(value) != 3 or letter not in set(signs):  # noqa: PLR2004
        return None
    try:
        parts = [float(part) for part in value]
    except (TypeError, ValueError, ArithmeticError):
        return None
    if not all(math.isfinite(part) and part >= 0 for part in parts):
        return None
    degrees = parts[0] + parts[1] / 60 + parts[2] / 3600
    return math.copysign(degrees, -1 if letter == signs[1] else 1) if degrees <= limit else None
