"""Photos for the demo, drawn: crude enough to be nobody's, varied enough that no two are alike."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from PIL import Image, ImageDraw

from app.core.clock import LOCAL
from tools.demo import dice

SIZE = WIDTH, HEIGHT = 1280, 960
HORIZON = 400
Colour = tuple[int, int, int]
Point = tuple[float, float]

_CAMERA, _GPS = 0x8769, 0x8825
_MAKE, _MODEL, _TAKEN, _OFFSET = 0x010F, 0x0110, 0x9003, 0x9011


@dataclass(frozen=True, slots=True)
class Shot:
    """One photo to take: of what, before or after the repair, and what the camera noted of time and place."""

    scene: str
    number: int
    fixed: bool = False
    taken_at: datetime | None = None
    at: Point | None = None


def photo(shot: Shot) -> bytes:
    """A JPEG of the scene. The same shot is the same bytes."""
    spot = shot.scene, shot.number  # before and after show the same one
    image = _ground(dice("ground", *spot), night=shot.scene == "lamp")
    SCENES[shot.scene](_Brush(image, dice("damage", *spot)), shot.fixed)
    image = Image.blend(image, _grain(dice("grain", *spot, shot.fixed)), 0.12)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=78, exif=_exif(shot))
    return out.getvalue()


class _Brush:
    """What scenes draw with."""

    def __init__(self, image: Image.Image, rng: Random) -> None:
        self._draw = ImageDraw.Draw(image)
        self.rng = rng

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self._draw.rectangle((left, top, right, bottom), fill=colour)

    def blob(self, x: float, y: float, wide: float, tall: float, colour: Colour) -> None:
        """An uneven round thing."""
        reach = [self.rng.uniform(0.8, 1.1) for _ in range(24)]
        points = [
            (x + math.cos(step / 24 * math.tau) * wide * far, y + math.sin(step / 24 * math.tau) * tall * far)
            for step, far in enumerate(reach)
        ]
        self._draw.polygon(points, fill=colour)

    def round(self, x: float, y: float, wide: float, tall: float, colour: Colour) -> None:
        self._draw.ellipse((x - wide, y - tall, x + wide, y + tall), fill=colour)

    def shape(self, points: list[Point], colour: Colour) -> None:
        self._draw.polygon(points, fill=colour)

    def line(self, points: list[Point], colour: Colour, width: int) -> None:
        self._draw.line(points, fill=colour, width=width, joint="curve")

    def x(self) -> float:
        """Somewhere in the middle."""
        return self.rng.uniform(400, 900)

    def y(self) -> float:
        """Somewhere on the ground."""
        return self.rng.uniform(620, 820)


def _ground(rng: Random, *, night: bool) -> Image.Image:
    """Sky, houses or hills, and a road towards them."""
    dim = 0.22 if night else rng.uniform(0.85, 1.05)

    def shade(red: float, green: float, blue: float) -> Colour:
        return min(255, int(red * dim)), min(255, int(green * dim)), min(255, int(blue * dim))

    image = Image.new("RGB", SIZE, shade(rng.uniform(150, 200), 205, 230))
    brush = _Brush(image, rng)
    for _ in range(5):
        brush.blob(rng.uniform(0, WIDTH), HORIZON + 30, rng.uniform(200, 380), rng.uniform(90, 200), shade(90, 130, 85))
    for left in range(-40, WIDTH, 210):
        if rng.random() < 0.6:  # noqa: PLR2004
            top = HORIZON - rng.uniform(60, 240)
            wall = rng.choice([(214, 196, 160), (190, 205, 200), (222, 170, 140), (235, 228, 205)])
            brush.box(left, top, left + 170, HORIZON + 40, shade(*wall))
            brush.box(left + 30, top + 30, left + 70, top + 75, shade(90, 105, 120))
            brush.box(left + 100, top + 30, left + 140, top + 75, shade(90, 105, 120))
    brush.box(0, HORIZON + 30, WIDTH, HEIGHT, shade(138, 132, 104))
    vanish = rng.uniform(500, 780)
    road = rng.uniform(88, 112)
    brush.shape(
        [(vanish - 60, HORIZON + 30), (vanish + 60, HORIZON + 30), (WIDTH + 80, HEIGHT), (-80, HEIGHT)],
        shade(road, road, road + 4),
    )
    for step in range(6):
        y, grow = HORIZON + 60 + step * step * 16, 1 + step * 1.2
        brush.shape([(vanish - grow, y), (vanish + grow, y), (vanish + grow * 2, y + 10 + step * 9), (vanish - grow * 2, y + 10 + step * 9)], shade(225, 222, 200))  # fmt: skip  # noqa: E501
    return image


def _grain(rng: Random) -> Image.Image:
    size = WIDTH // 5, HEIGHT // 5
    return Image.frombytes("L", size, rng.randbytes(size[0] * size[1])).resize(SIZE).convert("RGB")


def _hole(brush: _Brush, fixed: bool) -> None:
    for _ in range(brush.rng.randint(1, 4)):
        x, y, wide = brush.x(), brush.y(), brush.rng.uniform(70, 190)
        if fixed:
            brush.box(x - wide, y - wide * 0.4, x + wide, y + wide * 0.4, (58, 58, 60))
        else:
            brush.blob(x, y, wide * 1.15, wide * 0.45, (120, 108, 88))
            brush.blob(x, y + 6, wide, wide * 0.36, (52, 46, 40))
            brush.blob(x + wide * 0.1, y + wide * 0.12, wide * 0.6, wide * 0.18, (142, 150, 152))


def _manhole(brush: _Brush, fixed: bool) -> None:
    x, y = brush.x(), brush.y()
    brush.round(x, y, 170, 78, (150, 146, 138))
    brush.round(x, y, 140, 62, (72, 74, 78) if fixed else (12, 12, 14))
    if fixed:
        for step in range(-5, 6):
            brush.line([(x + step * 24, y - 40), (x + step * 24, y + 40)], (105, 107, 112), 6)
    else:
        brush.line([(x - 20, y - 10), (x + 30, y - 230)], (92, 70, 40), 12)
        brush.blob(x + 40, y - 240, 60, 50, (60, 120, 50))


def _lamp(brush: _Brush, fixed: bool) -> None:
    x = brush.x()
    brush.line([(x, 860), (x, 170), (x + 130, 130)], (60, 62, 66), 18)
    if fixed:
        brush.shape([(x + 120, 150), (x - 180, 860), (x + 420, 860)], (120, 108, 62))
        brush.round(x + 125, 142, 44, 18, (255, 246, 205))
    else:
        brush.round(x + 125, 142, 44, 18, (38, 40, 44))


def _rubbish(brush: _Brush, fixed: bool) -> None:
    bags = [(60, 90, 150), (180, 60, 60), (235, 235, 230), (40, 44, 48), (70, 140, 80), (220, 190, 60), (150, 110, 70)]
    centre = brush.x()
    for _ in range(2 if fixed else brush.rng.randint(26, 60)):
        spread = brush.rng.gauss(0, 150)
        y = brush.rng.uniform(620, 800) - max(0.0, 90 - abs(spread))
        brush.blob(centre + spread, y, brush.rng.uniform(18, 62), brush.rng.uniform(14, 44), brush.rng.choice(bags))
    if fixed:
        brush.box(centre - 70, 560, centre + 70, 760, (40, 110, 70))
        brush.box(centre - 80, 540, centre + 80, 570, (30, 84, 54))


def _flood(brush: _Brush, fixed: bool) -> None:
    depth = 900 if fixed else brush.rng.uniform(520, 620)
    brush.box(0, depth, WIDTH, HEIGHT, (122, 108, 82))
    for _ in range(60):
        x, y = brush.rng.uniform(0, WIDTH), brush.rng.uniform(depth, HEIGHT)
        brush.line([(x, y), (x + brush.rng.uniform(40, 160), y)], (150, 140, 116), 3)
    if not fixed:
        x = brush.x()
        brush.round(x - 60, depth + 30, 46, 46, (30, 30, 32))
        brush.round(x + 70, depth + 30, 46, 46, (30, 30, 32))
        brush.shape([(x - 80, depth), (x + 90, depth), (x + 60, depth - 70), (x - 40, depth - 60)], (170, 40, 40))


def _drain(brush: _Brush, fixed: bool) -> None:
    y = brush.y()
    brush.shape([(0, y - 60), (WIDTH, y - 20), (WIDTH, y + 60), (0, y + 40)], (158, 154, 146))
    dark = (52, 66, 60) if fixed else (40, 34, 26)
    brush.shape([(0, y - 30), (WIDTH, y), (WIDTH, y + 30), (0, y + 10)], dark)
    for _ in range(0 if fixed else 34):
        x = brush.rng.uniform(0, WIDTH)
        brush.blob(x, y + brush.rng.uniform(-20, 24), brush.rng.uniform(12, 40), 12, brush.rng.choice([(96, 78, 50), (210, 210, 205), (70, 96, 60)]))  # fmt: skip  # noqa: E501


def _smoke(brush: _Brush, fixed: bool) -> None:
    x = brush.x()
    brush.box(x - 30, 150, x + 30, HORIZON + 40, (170, 96, 76))
    for step in range(0 if fixed else 46):
        grey = brush.rng.randint(40, 110)
        brush.blob(x + step * 12 + brush.rng.gauss(0, 24), 150 - step * 2 + brush.rng.gauss(0, 30), 40 + step * 2, 34 + step, (grey, grey, grey))  # fmt: skip  # noqa: E501


def _wires(brush: _Brush, fixed: bool) -> None:
    left, right = brush.rng.uniform(120, 260), brush.rng.uniform(960, 1120)
    lean = 0 if fixed else brush.rng.uniform(60, 160)
    brush.line([(left, 900), (left + lean, 120)], (112, 104, 96), 24)
    brush.line([(right, 900), (right, 120)], (112, 104, 96), 24)
    for number in range(7):
        sag = 40 if fixed else brush.rng.uniform(120, 520)
        start, top = left + lean, 140 + number * 16
        points = [
            (start + (right - start) * step / 12, top + sag * math.sin(step / 12 * math.pi)) for step in range(13)
        ]
        brush.line(points, (24, 24, 26), 4)


def _pavement(brush: _Brush, fixed: bool) -> None:
    for row in range(9):
        for column in range(16):
            missing = not fixed and brush.rng.random() < 0.22  # noqa: PLR2004
            colour = (118, 98, 74) if missing else brush.rng.choice([(186, 118, 92), (176, 110, 86), (196, 130, 104)])
            brush.box(column * 82, 560 + row * 46, column * 82 + 76, 560 + row * 46 + 41, colour)


def _stalls(brush: _Brush, fixed: bool) -> None:
    for number in range(0 if fixed else 6):
        x = 60 + number * 205 + brush.rng.uniform(-20, 20)
        roof = brush.rng.choice([(200, 60, 50), (50, 90, 170), (60, 140, 80), (225, 180, 60)])
        brush.shape([(x, 520), (x + 180, 520), (x + 150, 440), (x + 30, 440)], roof)
        brush.box(x + 10, 640, x + 170, 700, (150, 110, 70))
        for _ in range(5):
            brush.round(x + brush.rng.uniform(20, 160), 630, 16, 14, brush.rng.choice([(220, 90, 40), (90, 150, 60)]))


def _sign(brush: _Brush, fixed: bool) -> None:
    x, lean = brush.x(), 0 if fixed else brush.rng.uniform(90, 220)
    brush.line([(x, 880), (x + lean, 330)], (160, 162, 166), 16)
    brush.round(x + lean, 300, 92, 92, (200, 30, 40))
    brush.round(x + lean, 300, 68, 68, (240, 240, 238))
    if fixed:
        brush.box(x - 52, 288, x + 52, 312, (30, 30, 34))


def _building(brush: _Brush, _fixed: bool) -> None:
    left = brush.rng.uniform(260, 420)
    for floor in range(brush.rng.randint(2, 4)):
        top = 640 - floor * 170
        brush.box(left, top, left + 520, top + 150, (178, 92, 66))
        for course in range(7):
            brush.line([(left, top + course * 22), (left + 520, top + course * 22)], (206, 190, 170), 3)
        brush.box(left - 20, top + 150, left + 540, top + 170, (150, 148, 144))
    for step in range(9):
        brush.line([(left - 40 + step * 75, 120), (left - 40 + step * 75, 820)], (150, 126, 70), 7)


SCENES: dict[str, Callable[[_Brush, bool], None]] = {
    "hole": _hole,
    "manhole": _manhole,
    "lamp": _lamp,
    "rubbish": _rubbish,
    "flood": _flood,
    "drain": _drain,
    "smoke": _smoke,
    "wires": _wires,
    "pavement": _pavement,
    "stalls": _stalls,
    "sign": _sign,
    "building": _building,
}


def _exif(shot: Shot) -> Image.Exif:
    """What a phone writes: make, moment with offset, position; nothing where its settings say so."""
    exif = Image.Exif()
    if shot.taken_at is not None:
        exif[_MAKE], exif[_MODEL] = "phananh", "demo"
        camera: dict[int, Any] = exif.get_ifd(_CAMERA)
        camera[_TAKEN] = f"{shot.taken_at.astimezone(LOCAL):%Y:%m:%d %H:%M:%S}"
        camera[_OFFSET] = "+07:00"
    if shot.at is not None:
        lat, lon = shot.at
        gps: dict[int, Any] = exif.get_ifd(_GPS)
        gps |= {1: "N", 2: _sexagesimal(lat), 3: "E", 4: _sexagesimal(lon)}
    return exif


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    whole = int(degrees)
    minutes = (degrees - whole) * 60
    return float(whole), float(int(minutes)), round((minutes - int(minutes)) * 60, 3)
