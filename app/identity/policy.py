"""Who is asking, and what that person may do: viewers, grants, and the dependencies that endpoints declare."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal, Protocol
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from sqlalchemy import and_, or_
from sqlmodel import col, select

from app.core import clock, crypto
from app.core.config import settings
from app.core.db import Db, Session
from app.core.errors import FORBIDDEN, NOT_FOUND, UNAUTHENTICATED
from app.identity import rules
from app.identity.models import Account, Membership, SignedInSession
from app.identity.rules import EITHER_ROLES, PROVINCE_ROLES, Claims, Role, coarse, forwarded_address, read_access_token


class Tree(Protocol):
    """What is needed of `orgunits.queries.Directory`."""

    def descendants(self, unit_id: UUID, /) -> frozenset[UUID]:
        """The unit and all units below it."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role in a unit and below, or in the whole province (unit_id None)."""

    role: Role
    unit_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Viewer:
    """The person behind a request; `account_id` is None for the public."""

    account_id: UUID | None
    session_id: UUID | None
    kind: Literal["public", "citizen", "staff"]
    grants: tuple[Grant, ...] = ()

    @property
    def id(self) -> UUID:
        """The account of somebody signed in; the public is refused."""
        if self.account_id is None:
            raise UNAUTHENTICATED.error()
        return self.account_id

    @property
    def roles(self) -> frozenset[Role]:
        """All roles held, in whatever unit."""
        return frozenset(grant.role for grant in self.grants)

    def has(self, *roles: str) -> bool:
        """Whether one of `roles` is held, in whatever unit."""
        return any(grant.role in roles for grant in self.grants)

    def units(self, roles: Collection[str], directory: Tree) -> frozenset[UUID] | None:
        """The units where one of `roles` is held, with all below them; None means the whole province."""
        held = [grant for grant in self.grants if grant.role in roles]
        if any(grant.unit_id is None and grant.role in PROVINCE_ROLES | EITHER_ROLES for grant in held):
            return None
        return frozenset[UUID]().union(*(directory.descendants(grant.unit_id) for grant in held if grant.unit_id))


PUBLIC = Viewer(None, None, "public")


def citizen_viewer(account_id: UUID, session_id: UUID | None = None) -> Viewer:
    """A citizen as viewer. Nothing is read: what citizens may do follows from whose report it is."""
    return Viewer(account_id, session_id, "citizen", (Grant(Role.CITIZEN),))


def staff_viewer(session: Session, account_id: UUID, session_id: UUID | None = None) -> Viewer | None:
    """A staff member with the rights in force now; None once blocked or (with `session_id`) signed out.

    One statement per request and no cache: a right that ends, ends at once.
    """
    at = clock.now()
    in_force = and_(
        col(Membership.account_id) == Account.id,
        col(Membership.valid_from) <= at,
        or_(col(Membership.valid_to).is_(None), col(Membership.valid_to) > at),
    )
    statement = (
        select(Membership.role, Membership.unit_id)
        .select_from(Account)
        .join(Membership, in_force, isouter=True)
        .where(Account.id == account_id, Account.kind == "staff", Account.status == "active")
    )
    if session_id is not None:
        statement = statement.join(SignedInSession, col(SignedInSession.account_id) == Account.id).where(
            SignedInSession.id == session_id, col(SignedInSession.ended_at).is_(None)
        )
    rows = session.exec(statement).all()
    if not rows:
        return None
    return Viewer(account_id, session_id, "staff", tuple(Grant(Role(role), unit) for role, unit in rows if role))


def require(viewer: Viewer, *roles: str, invisible: bool = False) -> None:
    """Let through who holds one of `roles`. Others get 403, or 404 where they may not even know of it."""
    if viewer.has(*roles):
        return
    if invisible:
        raise NOT_FOUND.error()
    raise (UNAUTHENTICATED if viewer.kind == "public" else FORBIDDEN).error()


def signing_key() -> bytes:
    """The key of access tokens, derived so that it serves nothing else."""
    return _signing_key(settings().token_key)


@lru_cache(maxsize=8)
def _signing_key(_token_key: str) -> bytes:
    return crypto.derive_token("access-token-signing-key").encode()


def _claims_of(request: Request) -> Claims | None:
    """The verified access token; none sent is the public, a bad one is always refused. Reads no database."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    claims = read_access_token(token.strip(), signing_key(), clock.now()) if scheme.lower() == "bearer" else None
    if claims is None:
        raise UNAUTHENTICATED.error(headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return claims


# One dependency each instead of a chain: FastAPI takes 20 µs for every link. Async without awaiting anything: a plain
# function would cost a hop to a thread on the hot path.
class _AnybodysToken(HTTPBearer):
    async def __call__(self, request: Request) -> Claims | None:  # type: ignore[override]
        return _claims_of(request)


class _CitizensToken(HTTPBearer):
    async def __call__(self, request: Request) -> Viewer:  # type: ignore[override]
        claims = _claims_of(request)
        if claims is None:
            raise UNAUTHENTICATED.error(headers={"WWW-Authenticate": "Bearer"})
        if claims.kind != "citizen":
            raise FORBIDDEN.error()
        return citizen_viewer(claims.account_id, claims.session_id)


_anybody = _AnybodysToken(auto_error=False, scheme_name="bearer", bearerFormat="JWT")
_citizen = _CitizensToken(auto_error=False, scheme_name="bearer", bearerFormat="JWT")
VerifiedClaims = Annotated[Claims | None, Depends(_anybody)]


def viewer_of(session: Session, claims: Claims | None) -> Viewer:
    """Turn a verified access token into a viewer; only staff cost a statement."""
    if claims is None:
        return PUBLIC
    if claims.kind == "citizen":
        return citizen_viewer(claims.account_id, claims.session_id)
    found = staff_viewer(session, claims.account_id, claims.session_id)
    if found is None:
        raise UNAUTHENTICATED.error(headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return found


def _viewer(claims: VerifiedClaims, session: Db) -> Viewer:
    return viewer_of(session, claims)


CurrentViewer = Annotated[Viewer, Depends(_viewer)]


def _signed_in(viewer: CurrentViewer) -> Viewer:
    if viewer.kind == "public":
        raise UNAUTHENTICATED.error(headers={"WWW-Authenticate": "Bearer"})
    return viewer


def _staff(viewer: Annotated[Viewer, Depends(_signed_in)]) -> Viewer:
    if viewer.kind != "staff":
        raise FORBIDDEN.error()
    return viewer


def check_active(session: Session, viewer: Viewer) -> None:
    """Refuse whose account was blocked or erased since the access token was issued."""
    if session.exec(select(Account.status).where(Account.id == viewer.id)).one_or_none() != "active":
        raise UNAUTHENTICATED.error()


# Citizen reads no database: what writes must itself check that the account is active, in its statement or with
# `check_active`.
Citizen = Annotated[Viewer, Depends(_citizen)]
SignedIn = Annotated[Viewer, Depends(_signed_in)]
Staff = Annotated[Viewer, Depends(_staff)]


def client_address(request: Request) -> str:
    """Where the request comes from; X-Forwarded-For counts only as far as `trusted_proxies` vouch for it."""
    peer = request.client.host if request.client else "unknown"
    return forwarded_address(peer, request.headers.get("x-forwarded-for", ""), settings().trusted_proxies)


def called_as(request: Request) -> str:
    """Scheme and host as the caller knows us (`https://phananh.example.vn`), to build addresses for that caller only.

    X-Forwarded-Proto and X-Forwarded-Host count only from a proxy of `trusted_proxies`. Empty for a Host that is none.
    """
    peer = request.client.host if request.client else "unknown"
    headers = request.headers
    own = (request.url.scheme, headers.get("host", ""))
    forwarded = (headers.get("x-forwarded-proto", ""), headers.get("x-forwarded-host", ""))
    return rules.called_as(peer, own, forwarded, settings().trusted_proxies)


def coarse_address(request: Request) -> str:
    """The /24 or /48 the request comes from: what limits per address count by (carrier NAT)."""
    return coarse(client_address(request))
