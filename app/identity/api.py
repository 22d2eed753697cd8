"""Sign-in, sessions, one's own account, and the administrator's staff accounts, over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from app.core import idempotency, limits
from app.core.db import Db, transaction
from app.core.errors import DomainError
from app.core.http import Language
from app.core.limits import Limit
from app.core.paging import CursorText, Page, cut, decode_cursor
from app.core.paging import Limit as PageLimit
from app.identity import actions, policy, queries
from app.identity.actions import CitizenAttempt, SendCode
from app.identity.policy import Grant, SignedIn, Staff, Viewer, coarse_address
from app.identity.rules import CODE_LIFE, Role, normal_email
from app.identity.schemas import (
    CitizenSignInIn,
    CodeRequestIn,
    CodeRequestOut,
    MeOut,
    RefreshIn,
    SessionOut,
    StaffIn,
    StaffOut,
    StaffSignInIn,
)

router = APIRouter(prefix="/v1")

# By phone or e-mail first; by address only coarsely, because a carrier puts thousands of phones behind one.
_CODES_SOON = Limit("codes-10-minutes", 3, 600)
_CODES_DAY = Limit("codes-day", 10, 86_400)
_CODES_ADDRESS = Limit("codes-address", 200, 600)
_SIGN_IN_PHONE = Limit("sign-in-phone", 20, 600)
_SIGN_IN_EMAIL = Limit("sign-in-email", 20, 900)
_SIGN_IN_ADDRESS = Limit("sign-in-address", 400, 600)
_REFRESH_ADDRESS = Limit("refresh-address", 3000, 600)


def _send_code(request: Request) -> SendCode:
    """Give what `app.main` put there: messages are a higher slice."""
    sender: SendCode = request.app.state.send_code
    return sender


@router.post(
    "/auth/codes",
    status_code=202,
    operation_id="request_sign_in_code",
    summary="Yêu cầu mã đăng nhập",
    tags=["auth"],
)
def request_sign_in_code(
    body: CodeRequestIn,
    request: Request,
    language: Language,
    session: Db,
    send: Annotated[SendCode, Depends(_send_code)],
) -> CodeRequestOut:
    """Send six digits to the phone. The answer is the same whether or not the number has an account."""
    phone = actions.mobile(body.phone)
    limits.spend(_CODES_ADDRESS, coarse_address(request))
    key = queries.phone_index(phone).hex()
    limits.spend(_CODES_SOON, key)
    limits.spend(_CODES_DAY, key)
    actions.request_code(session, phone, locale=language, send=send)
    return CodeRequestOut(expires_in=int(CODE_LIFE.total_seconds()))


@router.post("/auth/sessions", status_code=201, operation_id="sign_in", summary="Đăng nhập bằng mã", tags=["auth"])
def sign_in(body: CitizenSignInIn, request: Request, response: Response, language: Language) -> SessionOut:
    """Exchange phone and code for tokens. On first use this opens the account, for which consent is needed."""
    phone = actions.mobile(body.phone)
    limits.spend(_SIGN_IN_ADDRESS, coarse_address(request))
    limits.spend(_SIGN_IN_PHONE, queries.phone_index(phone).hex())
    attempt = CitizenAttempt(phone, body.code.strip(), body.consent_version, body.name, body.device, language)
    with transaction() as session:
        outcome = actions.sign_in_citizen(session, attempt)
    return _settled(outcome, response)


@router.post(
    "/auth/staff-sessions", status_code=201, operation_id="sign_in_staff", summary="Cán bộ đăng nhập", tags=["auth"]
)
def sign_in_staff(body: StaffSignInIn, request: Request, response: Response) -> SessionOut:
    """Exchange e-mail and password for tokens. An unknown address and a wrong password look alike."""
    email = normal_email(body.email) or body.email
    limits.spend(_SIGN_IN_ADDRESS, coarse_address(request))
    limits.spend(_SIGN_IN_EMAIL, queries.email_index(email).hex())
    return _settled(actions.sign_in_staff(email, body.password, body.device), response)


@router.post("/auth/refresh", operation_id="refresh_session", summary="Gia hạn phiên đăng nhập", tags=["auth"])
def refresh_session(body: RefreshIn, request: Request, response: Response) -> SessionOut:
    """Exchange the refresh token for new tokens. When the answer was lost, send the same token again."""
    limits.spend(_REFRESH_ADDRESS, coarse_address(request))
    with transaction() as session:
        outcome = actions.refresh(session, body.refresh_token)
    return _settled(outcome, response)


@router.delete("/auth/session", status_code=204, operation_id="sign_out", summary="Đăng xuất", tags=["auth"])
def sign_out(viewer: SignedIn, session: Db) -> None:
    """End this session: its refresh token is dead at once; a citizen's access token dies within minutes."""
    actions.sign_out(session, viewer)


@router.get("/me", operation_id="get_me", summary="Tài khoản của tôi", tags=["me"])
def get_me(viewer: SignedIn, session: Db, response: Response) -> MeOut:
    """Show one's own account: name, masked phone, roles with their units, consent."""
    response.headers["Cache-Control"] = "no-store"
    return queries.me(session, viewer)


def _administrator(claims: policy.VerifiedClaims) -> Viewer:
    """Admit an administrator in a transaction of its own: hashing a password must not happen inside one."""
    with transaction() as session:
        viewer = policy.viewer_of(session, claims)
    policy.require(viewer, Role.ADMINISTRATOR)
    return viewer


@router.post(
    "/staff",
    status_code=201,
    response_model=StaffOut,
    operation_id="create_staff",
    summary="Tạo tài khoản cán bộ",
    tags=["staff"],
)
def create_staff(
    body: StaffIn, key: idempotency.RequiredKey, administrator: Annotated[Viewer, Depends(_administrator)]
) -> Response:
    """Open an account with its roles; audited. Sending the same Idempotency-Key again returns the same answer."""
    # The stored hash of the request must not become a cheap hash of the password.
    hashed = idempotency.request_hash("POST /v1/staff", body.model_dump_json(exclude={"password"}).encode())
    grants = [Grant(grant.role, grant.unit_id) for grant in body.grants]
    password_hash = actions.hash_password(body.password)
    with transaction() as session:

        def act() -> idempotency.Stored:
            account = actions.create_staff(
                session,
                email=body.email,
                password_hash=password_hash,
                name=body.name,
                grants=grants,
                actor_id=administrator.id,
            )
            return idempotency.Stored(201, queries.staff_member(session, account.id).model_dump_json().encode())

        answer = idempotency.once(session, administrator.id, key, hashed, act)
    return answer.response()


@router.get("/staff", operation_id="list_staff", summary="Danh sách cán bộ", tags=["staff"])
def list_staff(viewer: Staff, session: Db, limit: PageLimit = 50, cursor: CursorText = None) -> Page[StaffOut]:
    """List staff accounts with the roles now in force, in the order they were opened; administrators only."""
    policy.require(viewer, Role.ADMINISTRATOR)
    (after,) = decode_cursor(cursor, UUID) if cursor else (None,)
    items, following = cut(queries.staff(session, after=after, limit=limit + 1), limit, lambda row: (row.id,))
    return Page(items=items, next_cursor=following)


def _settled(outcome: SessionOut | DomainError, response: Response) -> SessionOut:
    """The transaction is committed by now, with the attempt counted or the session ended: answer."""
    if isinstance(outcome, DomainError):
        raise outcome
    response.headers["Cache-Control"] = "no-store"
    return outcome
