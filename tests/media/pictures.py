"""Pictures drawn for tests: every type, good and bad."""

import io
import struct
import zipfile
import zlib
from typing import Any

import pillow_heif
from PIL import Image, ImageCms
from PIL.ExifTags import GPS, IFD, Base

pillow_heif.register_heif_opener()


def drawn(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """A gradient with a bright left upper corner: every turn of it looks different."""
    across = Image.linear_gradient("L").resize((width, height))
    corner = Image.new("L", (max(1, width // 3), max(1, height // 3)), 255)
    across.paste(corner, (0, 0))
    blank = Image.new("L", (width, height), 40)
    return Image.merge("RGB", (across, blank, across)).convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(width: int = 64, height: int = 48, **options: Any) -> bytes:
    return saved(drawn(width, height), "JPEG", **options)


def exif(
    *,
    orientation: int = 1,
    taken: str | None = "2026:11:20 08:15:30",
    offset: str | None = None,
    lat: Any = (21.0, 35.0, 39.0),
    lon: Any = (105.0, 50.0, 53.0),
    references: tuple[str, str] = ("N", "E"),
) -> bytes:
    """An EXIF block as a phone writes it, in the middle of Thái Nguyên unless told otherwise."""
    found = Image.Exif()
    found[Base.Orientation] = orientation
    found[Base.Make] = "SECRET-CAMERA"
    camera = found.get_ifd(IFD.Exif)
    if taken is not None:
        camera[Base.DateTimeOriginal] = taken
    if offset is not None:
        camera[Base.OffsetTimeOriginal] = offset
    if lat is not None:
        gps = {GPS.GPSLatitudeRef: references[0], GPS.GPSLatitude: lat}
        found.get_ifd(IFD.GPSInfo).update(gps | {GPS.GPSLongitudeRef: references[1], GPS.GPSLongitude: lon})
    return found.tobytes()


def with_zip() -> bytes:
    """A JPEG that is a valid zip archive as well."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as inside:
        inside.writestr("payload.sh", "echo owned")
    return jpeg() + archive.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(side: int = 10_000) -> bytes:
    """Some kilobytes that ask for `side`² pixels of one bit."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1 + (side + 7) // 8) * side, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def announcing(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header announces another size than it holds."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def scan_bomb(scans: int = 500) -> bytes:
    """A progressive JPEG whose last scan is repeated: each costs time in proportion to all pixels."""
    data = jpeg(64, 48, progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + b"\xff\xd9"


def frames(kind: str) -> bytes:
    second = drawn().transpose(Image.Transpose.ROTATE_180)
    return saved(drawn(), kind, save_all=True, append_images=[second], duration=100)


def display_p3() -> bytes:
    """An ICC profile with other primaries than sRGB; its description says so."""
    profile = ImageCms.createProfile("sRGB")
    data = bytearray(ImageCms.ImageCmsProfile(profile).tobytes())
    table = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12)}

    def body(tag: bytes) -> tuple[int, int]:
        return struct.unpack_from(">II", data, table[tag] + 4)

    red, green = body(b"rXYZ")[0], body(b"gXYZ")[0]
    data[red + 8 : red + 20], data[green + 8 : green + 20] = (
        bytes(data[green + 8 : green + 20]),
        bytes(data[red + 8 : red + 20]),
    )
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def motion_photo() -> bytes:
    """As Android phones write them: a short film behind the picture."""
    film = struct.pack(">I4s", 16, b"ftyp") + b"mp42" + bytes(4) + struct.pack(">I4s", 1008, b"mdat") + bytes(1000)
    return jpeg(exif=exif()) + film
