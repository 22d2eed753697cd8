"""Pictures, pure: what an upload really is, and what is made of it. Bytes in, bytes out.

`inspect` reads headers only, in Python: no image library sees an upload outside the memory-capped worker.
`derive` decodes once, in that worker, with the decoder of the detected type and no other.
"""

import io
import math
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from mmap import mmap
from typing import Any, NamedTuple

import pillow_heif
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pillow_heif.as_plugin import HeifImageFile

from app.core.clock import LOCAL

MAX_BYTES = 15_000_000
# JPEG decodes at a fraction of its size (draft); the others are held whole, several times over, under a 1 GB cap.
MAX_PIXELS = {"image/jpeg": 50_000_000, "image/png": 25_000_000, "image/webp": 25_000_000, "image/heic": 25_000_000}
# Each scan of a progressive JPEG touches every block again: 15 MB can hold hours of work. Cameras write about ten.
MAX_SCANS = 100
MAX_SEGMENTS = 20_000
MAX_PROFILE_BYTES = 1_000_000

MAX_ATTEMPTS = 5

LARGE, SMALL = 1600, 320
QUALITY = 80
DERIVED_TYPE = "image/webp"
# A pin this far from where the camera says it stood is shown to staff as disagreeing. GPS of a phone that was just
# woken is off by up to some hundred metres, and people report what they see across a street or a field.
FAR_HINT_M = 500.0

EMPTY = "media_empty"
UNSUPPORTED = "media_type_unsupported"
BROKEN = "media_broken"
ANIMATED = "media_animated"
TOO_MANY_PIXELS = "media_too_many_pixels"

Blob = bytes | mmap


class Unprocessable(Exception):
    """This will never become a picture; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Header(NamedTuple):
    """What the header says, and where the picture's own bytes end."""

    detected_type: str
    width: int
    height: int
    end: int


def inspect(data: Blob) -> Header:
    """The type and size of `data` by content alone; Unprocessable for anything that is not one still picture.

    Animated PNG and WebP and HEIF sequences are refused, not cut to a first frame: which frame shows the damage is
    not ours to choose. A second picture *behind* a JPEG or beside a HEIC is accepted and dropped: most new phones
    write one (gain map, depth, motion photo).
    """
    if not len(data):
        raise Unprocessable(EMPTY)
    head = bytes(data[:16])
    try:
        if head.startswith(b"\xff\xd8\xff"):
            header = _jpeg(data)
        elif head.startswith(b"\x89PNG\r\n\x1a\n"):
            header = _png(data)
        elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            header = _webp(data)
        elif head[4:8] == b"ftyp":
            header = _heif(data)
        else:
            raise Unprocessable(UNSUPPORTED)
    except (struct.error, IndexError) as error:
        raise Unprocessable(BROKEN) from error
    _check_pixels(header.detected_type, (header.width, header.height))
    _refuse_second_nature(data, header.end)
    return header


def _check_pixels(detected_type: str, size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise Unprocessable(BROKEN)
    if size[0] * size[1] > MAX_PIXELS[detected_type]:
        raise Unprocessable(TOO_MANY_PIXELS)


# A marker other than stuffing, restart and fill bytes: in entropy-coded data nothing else can stand.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA


def _jpeg(data: Blob) -> Header:
    position, width, height, scans = 2, 0, 0, 0
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            break
        code, position = data[found.end() - 1], found.end()
        if code == _EOI and scans:
            return Header("image/jpeg", width, height, position)
        if code in (_SOI, _EOI):
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if code in _START_OF_FRAME:
            tall, wide = struct.unpack_from(">HH", data, position + 3)
            width, height = max(width, wide), max(height, tall)
        elif code == _SOS:
            scans += 1
            if scans > MAX_SCANS:
                break
        position += length
    raise Unprocessable(BROKEN)


def _png(data: Blob) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    position = 8
    for _ in range(MAX_SEGMENTS):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"acTL":
            raise Unprocessable(ANIMATED)
        position += 12 + length
        if position > len(data) or (position == 8 + 25) != (kind == b"IHDR"):
            break
        if kind == b"IEND":
            return Header("image/png", width, height, position)
    raise Unprocessable(BROKEN)


_WEBP_ANIMATION = 0x02


def _webp(data: Blob) -> Header:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise Unprocessable(BROKEN)
    kind, body = data[12:16], bytes(data[20:30])
    if kind == b"VP8X":
        if body[0] & _WEBP_ANIMATION:
            raise Unprocessable(ANIMATED)
        size = 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    elif kind == b"VP8 ":
        wide, tall = struct.unpack_from("<HH", body, 6)
        size = wide & 0x3FFF, tall & 0x3FFF
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 1)
        size = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        raise Unprocessable(BROKEN)
    return Header("image/webp", *size, end)


_HEIC_STILLS = frozenset({b"heic", b"heix", b"heim", b"heis"})
_HEIC_SEQUENCES = frozenset({b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"})


def _heif(data: Blob) -> Header:
    """The largest image item stands for the size: grids name their whole, tiles and thumbnails are smaller."""
    (length,) = struct.unpack_from(">I", data, 0)
    names = bytes(data[8 : min(length, 256)])
    brands = {names[at : at + 4] for at in range(0, len(names), 4) if at != 4}  # noqa: PLR2004 - the minor version
    if names[:4] in _HEIC_SEQUENCES:
        raise Unprocessable(ANIMATED)
    if not brands & _HEIC_STILLS:
        raise Unprocessable(UNSUPPORTED)
    end, sizes = 0, [(0, 0)]
    for kind, start, stop in _boxes(data, 0, len(data)):
        end = stop
        if kind != b"meta":
            continue
        for path, first, last in _boxes(data, start + 4, stop):
            containers = _boxes(data, first, last) if path == b"iprp" else ()
            items = (item for name, a, b in containers if name == b"ipco" for item in _boxes(data, a, b))
            sizes += [struct.unpack_from(">II", data, at + 4) for name, at, _ in items if name == b"ispe"]
    return Header("image/heic", *max(sizes, key=math.prod), end)


def _boxes(data: Blob, position: int, limit: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of the content of each ISO base media box; a box that runs over its limit is broken."""
    for _ in range(MAX_SEGMENTS):
        if position + 8 > limit:
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        if not kind.isalnum():
            return
        start = position + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        stop = limit if length == 0 else position + length
        if not start <= stop <= limit:
            raise Unprocessable(BROKEN)
        yield kind, start, stop
        position = stop


_ZIP_END = b"PK\x05\x06"
_ZIP_END_REACH = 65_557  # where readers of zip, jar, docx and apk look for it, counted from the end
_FOREIGN = (b"%pdf-", b"<?php", b"<script", b"<html", b"<!doctype", b"<svg", b"rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c")


def _refuse_second_nature(data: Blob, end: int) -> None:
    """Refuse what is at the same time a picture and an archive, a document or a page (polyglots).

    Other bytes behind the picture stay accepted; nothing but our own re-encoding is ever served.
    """
    tail = bytes(data[end : end + _ZIP_END_REACH]).lower()
    if (
        _ZIP_END in data[max(0, len(data) - _ZIP_END_REACH) :]
        or b"%PDF-" in data[:1024]
        or any(sign in tail for sign in _FOREIGN)
        or tail.startswith((b"mz", b"\x7felf"))
    ):
        raise Unprocessable(UNSUPPORTED)


class Hint(NamedTuple):
    """What the camera noted: private, for staff only, never proof."""

    taken_at: datetime | None = None
    lat: float | None = None
    lon: float | None = None


@dataclass(frozen=True, slots=True)
class Derived:
    """Everything made of a picture: two WebP files without any metadata, a fingerprint, the private hint."""

    large: bytes
    small: bytes
    width: int
    height: int
    dhash: int
    hint: Hint


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
    _check_pixels(detected_type, picture.size)
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
