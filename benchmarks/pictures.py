"""Photos: the pipeline beside a bare Pillow script, and what the photo worker's child holds at 12 megapixels.

`python -m benchmarks.pictures rates N` is the process in which the first is measured: it holds nothing else.
"""

import http.client
import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

from app.core.config import ROOT
from app.media.rules import LARGE, QUALITY, SMALL
from app.pictures.rules import derive
from benchmarks.rows import Row

FOLDER = ROOT.parent / "shared" / "data" / "photos"
WIDE, TALL = 4000, 3000
TYPES = {"JPEG": "image/jpeg", "HEIC": "image/heic", "PNG": "image/png", "WebP": "image/webp"}
CAP_MB = 1024


def rates(*, quick: bool) -> Iterator[Row]:
    """Pictures a second a core: CPU time, ours and the script in turn."""
    command = [sys.executable, "-m", "benchmarks.pictures", "rates", "3" if quick else "11"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    for name, (ours, theirs, ratio) in json.loads(answer).items():
        yield Row(
            f"photo pipeline, {name}",
            f"{1 / ours:.1f} a second a core",
            f"{1 / theirs:.1f} a second a core",
            f"{ratio:.2f}",
            "≥ 0.90",
            ratio >= 0.9,
        )


def measured(rounds: int) -> dict[str, tuple[float, float, float]]:
    """By picture: seconds of CPU for ours and for the bare script, and the median of what theirs is to ours."""
    pillow_heif.register_heif_opener()
    found = {f"JPEG of {WIDE * TALL // 1_000_000} megapixels": (drawn("JPEG"), "image/jpeg")}
    for name, kind in (("HMD_Nokia_8.3_5G.jpg", "image/jpeg"), ("IMG_5195.HEIC", "image/heic")):
        if (FOLDER / name).exists():
            found[f"{kind.removeprefix('image/').upper()} of a phone ({name})"] = (FOLDER / name).read_bytes(), kind
    answer = {}
    for name, (data, kind) in found.items():
        pairs = [(_seconds(derive, data, kind), _seconds(script, data)) for _ in range(rounds + 1)][1:]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        answer[name] = ours, theirs, statistics.median(yours / mine for mine, yours in pairs)
    return answer


def script(data: bytes) -> tuple[bytes, bytes]:
    """The bare script: fitted draft, 1600 px, upright, 320 px from that, both as WebP. No checks, no fingerprint."""
    with Image.open(io.BytesIO(data)) as picture:
        scale = min(1.0, LARGE / max(picture.size))
        picture.draft("RGB", (round(picture.width * scale), round(picture.height * scale)))
        picture.thumbnail((LARGE, LARGE), Image.Resampling.BICUBIC)
        large = ImageOps.exif_transpose(picture).convert("RGB")
    small = large.copy()
    small.thumbnail((SMALL, SMALL), Image.Resampling.BICUBIC)
    return _webp(large), _webp(small)


def _webp(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=0)
    return buffer.getvalue()


def drawn(kind: str) -> bytes:
    """A picture of 12 megapixels with about the detail of a photo: hills of colour under fine grain."""
    y, x = np.mgrid[0:TALL, 0:WIDE].astype(np.float32)
    hills = np.stack([127 + 90 * np.sin(x / 97 + shift) * np.cos(y / 71 - shift) for shift in (0, 1, 2)], axis=-1)
    # Grain is what a PNG cannot hold within the limit of an upload, and what takes a HEIC two minutes to write.
    grain = np.random.default_rng(1).normal(0, 6 if kind in ("JPEG", "WebP") else 0, (TALL, WIDE, 1)).astype(np.float32)
    image = Image.fromarray(np.clip(hills + grain, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, kind.replace("HEIC", "HEIF"), quality=80, **({"method": 0} if kind == "WebP" else {}))
    return buffer.getvalue()


def _seconds(act: Callable[..., object], *given: object) -> float:
    started = time.process_time()
    act(*given)
    return time.process_time() - started


def peak(address: tuple[str, int], token: str, child: Callable[[], int], state: Callable[[UUID], object]) -> Row:
    """Send 12-megapixel pictures of every type to the running product and look at its photo child after each."""
    pillow_heif.register_heif_opener()
    held = {}
    for kind, declared in TYPES.items():
        media_id = _sent(address, token, drawn(kind), declared)
        deadline = time.monotonic() + 60
        while (now := state(media_id)) != "processed":
            if now == "failed" or time.monotonic() > deadline:
                raise RuntimeError(f"the {kind} was not processed: {now}")
            time.sleep(0.05)
        held[kind] = int(Path(f"/proc/{child()}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    limits = Path(f"/proc/{child()}/limits").read_text()
    cap = int(limits.partition("Max address space")[2].split()[0]) / 2**20
    told = ", then ".join(f"{kind} {megabytes:.0f}" for kind, megabytes in held.items())
    return Row(
        f"most memory of the photo child at 12 megapixels ({told}; address space capped at {cap:.0f} MiB)",
        f"{max(held.values()):.0f} MB",
        "",
        "",
        "≤ 260 MB, cap 1 GB",
        max(held.values()) <= 260 and cap <= CAP_MB,
    )


def _sent(address: tuple[str, int], token: str, data: bytes, kind: str) -> UUID:
    boundary = uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: {kind}\r\n\r\n'
    headers = {
        "Authorization": f"Bearer {token}",
        "Idempotency-Key": str(uuid4()),
        "Content-Type": f"multipart/form-data; boundary={boundary}",
    }
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request("POST", "/v1/media", head.encode() + data + f"\r\n--{boundary}--\r\n".encode(), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != http.HTTPStatus.CREATED:
            raise RuntimeError(f"a picture was refused: {answer.status} {text[:300]!r}")
        return UUID(json.loads(text)["id"])
    finally:
        connection.close()


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[2]))))
