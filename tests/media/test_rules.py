"""What an upload is, and what is made of it: pure, on real photos and on hostile ones."""

import contextlib
import io
import struct
import warnings
from datetime import UTC, datetime
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.media import rules
from app.media.rules import Derived, Unprocessable, inspect
from app.pictures.rules import derive
from tests.media import pictures


def processed(data: bytes) -> Derived:
    return derive(data, inspect(data).detected_type)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=["WEBP"])


def brightness(image: Image.Image, x: float, y: float) -> int:
    """The mean of a tenth of the picture around a point given in parts of its sides."""
    left, top = max(0.0, x - 0.05) * image.width, max(0.0, y - 0.05) * image.height
    box = (left, top, min(left + image.width / 10, image.width), min(top + image.height / 10, image.height))
    value = image.convert("L").resize((1, 1), Image.Resampling.BOX, box).getpixel((0, 0))
    assert isinstance(value, int)
    return value


def bare(data: bytes) -> bool:
    """A WebP file with nothing in it but pixels: no chunk besides the one that holds them, no known trace."""
    chunks, at = [], 12
    while at < len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        chunks.append(kind)
        at += 8 + length + length % 2
    traces = (b"Exif", b"GPSL", b"xmpmeta", b"Apple", b"NIKON", b"SECRET", b"Nokia")
    return chunks == [b"VP8 "] and not any(trace in data for trace in traces)


PHOTOS = {
    # name: detected type, size of the large derivative, camera's position, camera's time in UTC
    "DSCN0010.jpg": ("image/jpeg", (640, 480), (43.46745, 11.88513), datetime(2008, 10, 22, 9, 28, 39, tzinfo=UTC)),
    "DSCN0021.jpg": ("image/jpeg", (640, 480), (43.46708, 11.88454), datetime(2008, 10, 22, 9, 38, 20, tzinfo=UTC)),
    "HMD_Nokia_8.3_5G.jpg": (
        "image/jpeg",
        (1600, 686),
        (60.14671, 24.90677),
        datetime(2022, 8, 14, 11, 12, 31, tzinfo=UTC),
    ),
    "IMG_5195.HEIC": (
        "image/heic",
        (1239, 1600),
        (39.05134, -94.28877),
        datetime(2021, 4, 11, 20, 47, 53, tzinfo=UTC),
    ),
    "image01137.jpg": ("image/jpeg", (88, 64), None, None),  # broken metadata, sound pixels
    "jolla.jpg": ("image/jpeg", (1600, 1200), None, datetime(2014, 9, 21, 9, 0, 56, tzinfo=UTC)),
    "landscape_6.jpg": ("image/jpeg", (600, 450), None, None),
    "no_exif.jpg": ("image/jpeg", (322, 466), None, None),
    "portrait_3.jpg": ("image/jpeg", (450, 600), None, None),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_real_photos(real_data: Path, name: str) -> None:
    data = (real_data / "photos" / name).read_bytes()
    detected_type, size, position, taken_at = PHOTOS[name]
    assert inspect(data).detected_type == detected_type
    assert inspect(data).end == len(data)
    derived = processed(data)
    assert (derived.width, derived.height) == size == opened(derived.large).size
    assert max(opened(derived.small).size) == min(320, max(size))
    assert bare(derived.large)
    assert bare(derived.small)
    assert derived.hint.taken_at == taken_at
    if position is None:
        assert (derived.hint.lat, derived.hint.lon) == (None, None)
    else:
        assert (derived.hint.lat, derived.hint.lon) == pytest.approx(position, abs=1e-5)


@pytest.mark.parametrize("name", ["landscape_6.jpg", "portrait_3.jpg"])
def test_turned_real_photos_stand_upright(real_data: Path, name: str) -> None:
    """Compared with the upright reading of the same bytes by Pillow's own helper."""
    data = (real_data / "photos" / name).read_bytes()
    large = opened(processed(data).large).convert("L")
    with Image.open(io.BytesIO(data)) as raw:
        turn = {"landscape_6.jpg": Image.Transpose.ROTATE_270, "portrait_3.jpg": Image.Transpose.ROTATE_180}[name]
        upright, lying = raw.transpose(turn).convert("L").resize(large.size), raw.convert("L").resize(large.size)

    def distance(other: Image.Image) -> float:
        pairs = zip(large.tobytes(), other.tobytes(), strict=True)
        return sum(abs(a - b) for a, b in pairs) / (large.width * large.height)

    assert distance(upright) * 3 < distance(lying)


def test_the_same_scene_has_near_fingerprints_and_another_has_not(real_data: Path) -> None:
    def fingerprint(name: str, **again: int) -> int:
        data = (real_data / "photos" / name).read_bytes()
        if again:
            with Image.open(io.BytesIO(data)) as image:
                data = pictures.saved(
                    image.convert("RGB").resize((again["width"], again["height"])), "JPEG", quality=60
                )
        return processed(data).dhash

    def apart(one: int, other: int) -> int:
        return ((one ^ other) & (2**64 - 1)).bit_count()

    assert apart(fingerprint("jolla.jpg"), fingerprint("jolla.jpg", width=900, height=675)) <= 4
    assert apart(fingerprint("jolla.jpg"), fingerprint("DSCN0010.jpg")) > 15


# --- what is refused -----------------------------------------------------------------------------------------------

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
JPEG = pictures.jpeg()
PNG = pictures.saved(pictures.drawn(), "PNG")
WEBP = pictures.saved(pictures.drawn(), "WEBP")
HEIC = pictures.saved(pictures.drawn(), "HEIF")
AVIF = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"avif", 0, b"mif1", b"avif") + bytes(100)
MP4 = struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"mp42") + bytes(100)
SEQUENCE = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"hevc", 0, b"mif1", b"heic") + bytes(100)

REFUSED = {
    "empty": (b"", rules.EMPTY),
    "one byte": (b"\xff", rules.UNSUPPORTED),
    "text": (b"hello, this is a picture", rules.UNSUPPORTED),
    "svg": (SVG, rules.UNSUPPORTED),
    "gif": (pictures.saved(pictures.drawn(), "GIF"), rules.UNSUPPORTED),
    "animated gif": (pictures.frames("GIF"), rules.UNSUPPORTED),
    "tiff": (pictures.saved(pictures.drawn(), "TIFF"), rules.UNSUPPORTED),
    "bmp": (pictures.saved(pictures.drawn(), "BMP"), rules.UNSUPPORTED),
    "postscript": (pictures.saved(pictures.drawn(), "EPS"), rules.UNSUPPORTED),
    "avif": (AVIF, rules.UNSUPPORTED),
    "film": (MP4, rules.UNSUPPORTED),
    "jpeg and zip": (pictures.with_zip(), rules.UNSUPPORTED),
    "png and zip": (PNG + pictures.with_zip()[len(JPEG) :], rules.UNSUPPORTED),
    "webp and page": (WEBP + b"<HTML><script>alert(1)</script>", rules.UNSUPPORTED),
    "jpeg and php": (JPEG + b"<?php system($_GET[0]); ?>", rules.UNSUPPORTED),
    "jpeg and pdf": (JPEG[:20] + b"%PDF-1.7 " + JPEG[20:], rules.UNSUPPORTED),
    "jpeg and program": (JPEG + b"\x7fELF" + bytes(60), rules.UNSUPPORTED),
    "animated webp": (pictures.frames("WEBP"), rules.ANIMATED),
    "animated png": (pictures.frames("PNG"), rules.ANIMATED),
    "heif sequence": (SEQUENCE, rules.ANIMATED),
    "png bomb": (pictures.png_bomb(), rules.TOO_MANY_PIXELS),
    "jpeg of 65,500 squared": (pictures.announcing(JPEG, 65_500, 65_500), rules.TOO_MANY_PIXELS),
    "jpeg above 50 megapixels": (pictures.announcing(JPEG, 10_001, 5_000), rules.TOO_MANY_PIXELS),
    "jpeg without height": (pictures.announcing(JPEG, 64, 0), rules.BROKEN),
    "jpeg of many scans": (pictures.scan_bomb(), rules.BROKEN),
    "jpeg without end": (JPEG[:-2], rules.BROKEN),
    "half a jpeg": (JPEG[: len(JPEG) // 2], rules.BROKEN),
    "head of a jpeg": (JPEG[:30], rules.BROKEN),
    "half a png": (PNG[: len(PNG) // 2], rules.BROKEN),
    "head of a png": (PNG[:16], rules.BROKEN),
    "half a webp": (WEBP[: len(WEBP) // 2], rules.BROKEN),
    "head of a webp": (WEBP[:12], rules.BROKEN),
    "half a heic": (HEIC[: len(HEIC) // 2], rules.BROKEN),
    "head of a heic": (HEIC[:40], rules.BROKEN),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_header_alone(name: str) -> None:
    data, code = REFUSED[name]
    with pytest.raises(Unprocessable) as refusal:
        inspect(data)
    assert refusal.value.code == code


def test_bombs_are_small() -> None:
    assert len(pictures.png_bomb()) < 13_000


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": pictures.exif()}])
def test_sizes_of_each_webp_dialect(options: dict[str, Any]) -> None:
    assert inspect(pictures.saved(pictures.drawn(300, 200), "WEBP", **options))[:3] == ("image/webp", 300, 200)


def test_the_limits_promised() -> None:
    limits = {"image/jpeg": 50_000_000, "image/png": 25_000_000, "image/webp": 25_000_000, "image/heic": 25_000_000}
    assert limits == rules.MAX_PIXELS
    assert rules.MAX_BYTES == 15_000_000


def test_heic_above_25_megapixels_is_refused_by_its_header() -> None:
    at = HEIC.index(b"ispe") + 8
    with pytest.raises(Unprocessable) as refusal:
        inspect(HEIC[:at] + struct.pack(">II", 5_001, 5_000) + HEIC[at + 8 :])
    assert refusal.value.code == rules.TOO_MANY_PIXELS


def test_what_phones_write_behind_a_picture_is_accepted_and_dropped() -> None:
    data = pictures.motion_photo()
    assert inspect(data).end < len(data)
    derived = processed(data)
    assert bare(derived.large)
    assert (derived.width, derived.height) == (64, 48)


def test_two_pictures_in_one_jpeg_are_one_picture() -> None:
    """MPO: what Ultra HDR phones write, the second being a gain map."""
    second = pictures.drawn(32, 24)
    data = pictures.saved(pictures.drawn(), "MPO", save_all=True, append_images=[second])
    assert (processed(data).width, processed(data).height) == (64, 48)


def test_a_file_is_inspected_without_reading_it_into_memory(tmp_path: Path) -> None:
    for data in (JPEG, PNG, WEBP, HEIC):
        path = tmp_path / "upload"
        path.write_bytes(data)
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
            assert inspect(mapped) == inspect(data)


GOOD = (JPEG, PNG, WEBP, HEIC)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(GOOD), st.data())
def test_damaged_pictures_are_processed_or_refused_and_nothing_else(good: bytes, data: st.DataObject) -> None:
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from((len(good), data.draw(st.integers(0, len(good))))))
    _either(bytes(damaged[:cut]))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([each[:12] for each in GOOD]), st.binary(max_size=400))
def test_noise_behind_a_known_beginning_is_refused_and_nothing_else(head: bytes, noise: bytes) -> None:
    _either(head + noise)


def _either(data: bytes) -> None:
    with contextlib.suppress(Unprocessable):
        assert bare(processed(data).large)


@pytest.mark.parametrize("good", GOOD, ids=("jpeg", "png", "webp", "heic"))
def test_a_cut_picture_is_refused_by_the_decoder_too(good: bytes) -> None:
    with pytest.raises(Unprocessable) as refusal:
        derive(good[: len(good) * 2 // 3], inspect(good).detected_type)
    assert refusal.value.code == rules.BROKEN


def test_the_decoder_checks_pixels_again() -> None:
    """Whatever the header reading missed: the size the decoder sees counts, before it decodes."""
    with pytest.raises(Unprocessable) as refusal:
        derive(pictures.png_bomb(), "image/png")
    assert refusal.value.code == rules.TOO_MANY_PIXELS


def test_only_the_decoder_of_the_detected_type_is_asked() -> None:
    with pytest.raises(Unprocessable) as refusal:
        derive(pictures.saved(pictures.drawn(), "GIF"), "image/jpeg")
    assert refusal.value.code == rules.BROKEN


# --- what is made of it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_orientation_is_applied(kind: str, orientation: int) -> None:
    upright = pictures.drawn(90, 60)
    inverse = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if inverse is None else upright.transpose(inverse)
    derived = processed(pictures.saved(stored, kind, exif=pictures.exif(orientation=orientation), quality=95))
    large = opened(derived.large)
    assert large.size == (90, 60)
    assert brightness(large, 0.1, 0.1) > 120 > brightness(large, 0.9, 0.1)
    assert brightness(large, 0.9, 0.9) > brightness(large, 0.9, 0.1) + 40


def test_heic_comes_upright_once() -> None:
    """The container turns it; EXIF saying the same must not turn it again."""
    lying = pictures.drawn(128, 96)
    data = pictures.saved(lying, "HEIF", exif=pictures.exif(orientation=6), quality=90)
    derived = processed(data)
    assert (derived.width, derived.height) == (96, 128)
    assert brightness(opened(derived.large), 0.9, 0.1) > 120  # the bright corner went from left to right
    assert (derived.hint.lat, derived.hint.lon) == pytest.approx((21.594167, 105.848056), abs=1e-5)


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_png(mode: str) -> None:
    image = pictures.drawn(60, 40, "L").convert("I").point(lambda value: value * 256).convert("I;16")
    if mode != "I;16":
        image = pictures.drawn(60, 40, mode)
    large = opened(processed(pictures.saved(image, "PNG")).large)
    assert large.mode == "RGB"
    assert brightness(large, 0.1, 0.1) > brightness(large, 0.9, 0.1) + 50
    assert brightness(large, 0.9, 0.1) < 100


def test_cmyk_becomes_rgb() -> None:
    large = opened(processed(pictures.saved(pictures.drawn(mode="CMYK"), "JPEG", quality=95)).large)
    assert brightness(large, 0.1, 0.1) > 120 > brightness(large, 0.9, 0.1)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_is_white(kind: str) -> None:
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (20, 0, 40, 40))
    large = opened(processed(pictures.saved(clear, kind)).large).convert("RGB")
    left, right = large.getpixel((5, 20)), large.getpixel((35, 20))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert min(left) > 250
    assert right[0] > 230
    assert max(right[1:]) < 30


def test_a_palette_with_a_transparent_colour_is_white_there() -> None:
    image = Image.new("P", (40, 40), 1)
    image.putpalette([0, 0, 0, 10, 10, 10])
    large = opened(processed(pictures.saved(image, "PNG", transparency=1)).large)
    assert brightness(large, 0.5, 0.5) > 250


def test_foreign_colours_become_srgb() -> None:
    """Red under a profile whose red and green are swapped is green."""
    red = Image.new("RGB", (40, 40), (250, 10, 10))
    plain = opened(processed(pictures.saved(red, "JPEG", quality=95)).large).convert("RGB").getpixel((20, 20))
    data = pictures.saved(red, "JPEG", quality=95, icc_profile=pictures.display_p3())
    derived = processed(data)
    found = opened(derived.large).convert("RGB").getpixel((20, 20))
    assert isinstance(plain, tuple)
    assert isinstance(found, tuple)
    assert plain[0] - plain[1] > 150
    assert found[1] - found[0] > 150
    assert bare(derived.large)


def test_a_broken_profile_is_ignored() -> None:
    data = pictures.saved(pictures.drawn(), "JPEG", icc_profile=b"not a profile at all" * 10)
    assert bare(processed(data).large)


@pytest.mark.parametrize(
    ("size", "large", "small"),
    [
        ((4000, 3000), (1600, 1200), (320, 240)),
        ((3000, 4000), (1200, 1600), (240, 320)),
        ((1600, 900), (1600, 900), (320, 180)),
        ((200, 100), (200, 100), (200, 100)),
        ((8000, 20), (1600, 4), (320, 1)),
        ((1, 1), (1, 1), (1, 1)),
    ],
)
def test_sizes(size: tuple[int, int], large: tuple[int, int], small: tuple[int, int]) -> None:
    derived = processed(pictures.jpeg(*size))
    assert opened(derived.large).size == large
    assert opened(derived.small).size == small


def test_twelve_megapixels_are_never_decoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """`draft` with the fitted size: the decoder itself halves the picture."""
    data, seen = pictures.jpeg(4000, 3000), []
    resize = Image.Image.resize

    def watched(self: Image.Image, *args: object, **options: object) -> Image.Image:
        seen.append(self.size)
        return resize(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", watched)
    processed(data)
    assert seen[0] == (2000, 1500)


def test_nothing_of_any_metadata_remains() -> None:
    exif = pictures.exif()
    for kind in ("JPEG", "PNG", "WEBP", "HEIF"):
        data = pictures.saved(pictures.drawn(), kind, exif=exif, xmp=b"<x:xmpmeta>SECRET</x:xmpmeta>")
        assert b"SECRET" in data
        derived = processed(data)
        assert bare(derived.large)
        assert bare(derived.small)
        assert derived.hint.lat is not None


# --- the private hint ----------------------------------------------------------------------------------------------


def hint(**values: object) -> rules.Hint:
    return processed(pictures.jpeg(exif=pictures.exif(**values))).hint  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("taken", "offset", "utc"),
    [
        ("2026:11:20 08:15:30", None, datetime(2026, 11, 20, 1, 15, 30, tzinfo=UTC)),
        ("2026:11:20 08:15:30", "+07:00", datetime(2026, 11, 20, 1, 15, 30, tzinfo=UTC)),
        ("2026:11:20 08:15:30", "-05:30", datetime(2026, 11, 20, 13, 45, 30, tzinfo=UTC)),
        ("2026:11:20 08:15:30", "+99:00", datetime(2026, 11, 20, 1, 15, 30, tzinfo=UTC)),
        ("2026:11:20 08:15:30", "nonsense", datetime(2026, 11, 20, 1, 15, 30, tzinfo=UTC)),
        ("2026-11-20T08:15:30", None, None),
        ("2026:02:30 08:15:30", None, None),
        ("0000:00:00 00:00:00", None, None),
        ("    :  :     :  :  ", None, None),
        ("1970:01:01 00:00:00", None, None),
        ("9999:12:31 23:59:59", "-14:00", None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_when_it_was_taken(taken: str | None, offset: str | None, utc: datetime | None) -> None:
    assert hint(taken=taken, offset=offset).taken_at == utc


@pytest.mark.parametrize(
    ("lat", "lon", "references", "found"),
    [
        ((21.0, 35.0, 39.0), (105.0, 50.0, 53.0), ("N", "E"), (21.594167, 105.848056)),
        ((21.0, 35.0, 39.0), (105.0, 50.0, 53.0), ("S", "W"), (-21.594167, -105.848056)),
        ((21.5, 0.0, 0.0), (105.5, 0.0, 0.0), ("n", "e"), (21.5, 105.5)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), ("N", "E"), None),
        ((91.0, 0.0, 0.0), (105.0, 0.0, 0.0), ("N", "E"), None),
        ((21.0, 0.0, 0.0), (181.0, 0.0, 0.0), ("N", "E"), None),
        ((21.0, 0.0), (105.0, 0.0), ("N", "E"), None),
        ((21.0, 35.0, 39.0), (105.0, 50.0, 53.0), ("E", "N"), None),
        ((21.0, 35.0, 39.0), (105.0, 50.0, 53.0), ("", ""), None),
        (None, None, ("N", "E"), None),
    ],
)
def test_where_it_was_taken(
    lat: object, lon: object, references: tuple[str, str], found: tuple[float, float] | None
) -> None:
    seen = hint(lat=lat, lon=lon, references=references)
    assert (seen.lat, seen.lon) == ((None, None) if found is None else pytest.approx(found, abs=1e-5))


def test_degrees_with_a_zero_denominator_are_none() -> None:
    """As receivers without a fix write them: 0/0."""
    block = pictures.exif()
    at = block.index(struct.pack("<II", 21, 1) if block[6:8] == b"II" else struct.pack(">II", 21, 1))
    broken = block[:at] + bytes(8) + block[at + 8 :]
    seen = processed(pictures.jpeg(exif=broken)).hint
    assert (seen.lat, seen.lon) == (None, None)
    assert seen.taken_at is not None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_exif_never_stops_a_picture(data: st.DataObject) -> None:
    block = bytearray(pictures.exif())
    for _ in range(data.draw(st.integers(1, 10))):
        block[data.draw(st.integers(6, len(block) - 1))] = data.draw(st.integers(0, 255))
    derived = processed(pictures.jpeg(exif=bytes(block)))
    assert bare(derived.large)
    if derived.hint.lat is not None and derived.hint.lon is not None:
        assert -90 <= derived.hint.lat <= 90
        assert -180 <= derived.hint.lon <= 180


def test_deriving_warns_nobody(real_data: Path) -> None:
    data = (real_data / "photos" / "image01137.jpg").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        processed(data)
