"""What an upload really is, told from its headers, in Python: no image library sees it outside the capped worker.

What is made of a picture there is `app.pictures`' business.
"""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from mmap import mmap
from typing import NamedTuple

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
    check_pixels(header.detected_type, (header.width, header.height))
    _refuse_second_nature(data, header.end)
    return header


def check_pixels(detected_type: str, size: tuple[int, int]) -> None:
    """Refuse a picture without extent, or with more pixels than its type may have (`MAX_PIXELS`)."""
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
