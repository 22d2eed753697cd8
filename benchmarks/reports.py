"""Reports as phones send them, prepared as bytes before the clock starts."""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from uuid import UUID, uuid4

import shapely

from app.core import clock
from app.identity.policy import signing_key
from app.identity.rules import Claims, access_token
from benchmarks.system import COMMUNES
from tests.support import places

# Trusted ones, which are routed without a person: three for communes, one for a department.
CATEGORIES = ("o_ga", "den_duong", "via_he", "den_tin_hieu")
_WORDS = (
    "Ổ gà sâu giữa đường, xe máy đi buổi tối rất dễ ngã.",
    "Đã phản ánh với tổ dân phố hai lần nhưng chưa được xử lý.",
    "Đoạn đường trước cổng trường học, giờ tan trường rất đông.",
    "Trời mưa nước ngập không nhìn thấy gì, đề nghị sớm khắc phục.",
)


def requests(count: int, tokens: Sequence[str], seed: int) -> list[bytes]:
    """`count` requests by the owners of `tokens` in turn, each with an id, a key, a place and words of its own."""
    chance = random.Random(seed)
    places_of_them = points(count, chance)
    return [_request(chance, tokens[number % len(tokens)], next(places_of_them)) for number in range(count)]


def tokens(accounts: Sequence[UUID]) -> list[str]:
    """Access tokens of citizens, as signing in makes them."""
    key, at = signing_key(), clock.now()
    return [access_token(Claims(account, uuid4(), "citizen"), key, at) for account in accounts]


def _request(chance: random.Random, token: str, point: tuple[float, float]) -> bytes:
    words = " ".join(chance.sample(_WORDS, 3))
    body = json.dumps(
        {
            "id": str(UUID(int=chance.getrandbits(128), version=4)),
            "category": chance.choice(CATEGORIES),
            "description": words,
            "location": {"lat": point[0], "lon": point[1], "accuracy_m": round(chance.uniform(4, 30), 1)},
            "address": f"Số {chance.randrange(1, 400)} đường Hoàng Văn Thụ",
            "sent_at": datetime.now(UTC).isoformat(),
            "visibility": "public",
        },
        ensure_ascii=False,
    ).encode()
    head = (
        "POST /v1/reports HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\nAccept-Language: vi\r\n"
        "User-Agent: phananh/1.0 (Android 15)\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nIdempotency-Key: {UUID(int=chance.getrandbits(128), version=4)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def points(count: int, chance: random.Random) -> Iterator[tuple[float, float]]:
    """(lat, lon) of points anywhere in the communes."""
    areas = _areas()
    found = 0
    while found < count:
        area = chance.choice(areas)
        west, south, east, north = area.bounds
        lon, lat = chance.uniform(west, east), chance.uniform(south, north)
        if shapely.contains_xy(area, lon, lat):
            found += 1
            yield round(lat, 6), round(lon, 6)


@cache
def _areas() -> tuple[shapely.Geometry, ...]:
    if COMMUNES.exists():
        features = json.loads(COMMUNES.read_text())["features"]
        found = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in features]
    else:
        found = [shapely.box(*places.square(code)) for code in places.codes()]
    for area in found:
        shapely.prepare(area)
    return tuple(found)
