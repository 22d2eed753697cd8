"""Where a point is, for who is signed in; which commune an address means, for everybody."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.addresses import actions, queries
from app.addresses.queries import Address
from app.addresses.rules import Spot, worded
from app.addresses.schemas import AddressOfferOut, AddressOffersOut, AddressOut, SpotOut
from app.assets.schemas import CodedOut
from app.boundaries.queries import check_location
from app.core import clock, limits
from app.core.db import Db, Session, transaction
from app.core.errors import INVALID, NOT_FOUND, UNAUTHENTICATED
from app.core.http import Lang, Language
from app.core.limits import Limit
from app.core.text import clean
from app.identity.policy import VerifiedClaims, viewer_of
from app.orgunits.queries import directory, name_of

router = APIRouter(prefix="/v1/addresses", tags=["addresses"])
ADDRESSES_PER_HOUR = Limit("addresses", quota=300, window_s=3600)


@router.get("/at", operation_id="get_address", summary="Địa chỉ của một điểm")
def get_address(
    claims: VerifiedClaims,
    language: Language,
    lat: Annotated[float, Query(description="Latitude, degrees in WGS 84.", examples=[21.5942])],
    lon: Annotated[float, Query(description="Longitude, degrees in WGS 84.", examples=[105.8482])],
) -> AddressOut:
    """Say where a point is, from our own data and, where one is set up, an own geocoder. Always answers quickly."""
    now = clock.now()
    with transaction() as session:  # closed before the geocoder is asked
        viewer = viewer_of(session, claims)
        if viewer.kind == "public":
            raise UNAUTHENTICATED.error(headers={"WWW-Authenticate": "Bearer"})
        limits.spend(ADDRESSES_PER_HOUR, str(viewer.id))
        check_location(session, lat, lon, None, now, pointer="/query")
    address = actions.describe(lat, lon, now)
    with transaction() as session:
        return _shown(session, address, language)


@router.get("/search", operation_id="search_address", summary="Tìm xã, phường theo địa chỉ mới hoặc cũ")
def search_address(
    session: Db,
    language: Language,
    q: Annotated[str, Query(min_length=2, max_length=200, examples=["xã Bảo Cường, huyện Định Hóa"])],
) -> AddressOffersOut:
    """Find today's communes that an address means: new ones, and old ones with a district; accents may be missing."""
    try:
        offers = queries.search(session, clean(q))
    except ValueError as error:
        raise INVALID.error(pointer="/query/q") from error
    units = directory(session)
    return AddressOffersOut(
        items=[
            AddressOfferOut(
                commune=CodedOut(code=unit.code, name=name_of(unit, language)),
                certainty=offer.certainty,
                was=offer.was,
                part=offer.part,
            )
            for offer in offers
            if (unit := units.by_id(offer.commune))
        ]
    )


def _shown(session: Session, address: Address, language: Lang) -> AddressOut:
    units = directory(session)
    commune = units.by_id(address.placement.commune_id) if address.placement.commune_id else None
    if commune is None:
        raise NOT_FOUND.error()
    names = [name_of(commune, language), name_of(units.province, language)]
    return AddressOut(
        text=worded(address.street, address.road, address.place, names, english=language == "en"),
        source=address.source,
        commune=CodedOut(code=commune.code, name=names[0]),
        commune_approximate=address.placement.approximate,
        street=address.street,
        road=_spot(address.road),
        place=_spot(address.place),
    )


def _spot(spot: Spot | None) -> SpotOut | None:
    return SpotOut(name=spot.name, distance_m=round(spot.distance_m)) if spot else None
