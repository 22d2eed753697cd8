"""Photo measurements in a process of their own: `python -m benchmarks.pictures photos N|picture|peak`."""

import io
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

from app.core.config import ROOT
from app.media.rules import LARGE, QUALITY, SMALL, derive

CAP = 1 << 30


def twelve_megapixels() -> bytes:
    """A JPEG with the detail of a photo: smooth hills of colour under fine grain."""
    tall, wide = 3000, 4000
    y, x = np.mgrid[0:tall, 0:wide].astype(np.float32)
    hills = np.stack([127 + 90 * np.sin(x / 97 + shift) * np.cos(y / 71 - shift) for shift in (0, 1, 2)], axis=-1)
    grain = np.random.default_rng(1).normal(0, 9, (tall, wide, 1)).astype(np.float32)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(hills + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def bare(data: bytes) -> None:
    """What a script would do: fitted draft, upright, two derivatives."""
    with Image.open(io.BytesIO(data)) as picture:
        scale = min(1.0, LARGE / max(picture.size))
        fitted = (round(picture.size[0] * scale), round(picture.size[1] * scale))
        picture.draft("RGB", fitted)
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    for side in (LARGE, SMALL):
        upright.thumbnail((side, side), Image.Resampling.BICUBIC)
        upright.save(io.BytesIO(), "WEBP", quality=QUALITY, method=0)


def photos(rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of CPU per picture: ours, and the bare script's, in turn."""
    pillow_heif.register_heif_opener()
    found = {"JPEG 12 MP": (twelve_megapixels(), "image/jpeg")}
    folder = ROOT.parent / "shared" / "data" / "photos"
    if folder.exists():
        found["a phone's JPEG, 9 MP"] = ((folder / "HMD_Nokia_8.3_5G.jpg").read_bytes(), "image/jpeg")
        found["a phone's HEIC, 8.5 MP"] = ((folder / "IMG_5195.HEIC").read_bytes(), "image/heic")
    answer = {}
    for name, (data, kind) in found.items():
        pairs = [(_seconds(derive, data, kind), _seconds(bare, data)) for _ in range(rounds + 1)]
        ours, theirs = zip(*pairs[1:], strict=True)  # the first warms both up
        answer[name] = (statistics.median(ours), statistics.median(theirs))
    return answer


def _seconds(act: Callable[..., object], *given: object) -> float:
    started = time.process_time()
    act(*given)
    return time.process_time() - started


def main() -> None:
    """Print the answer as JSON."""
    if sys.argv[1] == "picture":
        sys.stdout.buffer.write(twelve_megapixels())
    elif sys.argv[1] == "photos":
        print(json.dumps(photos(int(sys.argv[2]))))
    else:
        resource.setrlimit(resource.RLIMIT_AS, (CAP, CAP))
        derive(sys.stdin.buffer.read(), "image/jpeg")
        print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


if __name__ == "__main__":
    main()
