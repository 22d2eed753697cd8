"""What identity reads. Sealed columns are opened here and nowhere else."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_
from sqlmodel import col, select
from sqlmodel.sql.expression import Select

from app.core import clock, crypto
from app.core.db import Session
from app.core.errors import UNAUTHENTICATED
from app.identity.models import Account, AuditEntry, Credential, Identity, Membership
from app.identity.policy import Viewer
from app.identity.rules import Role, masked_email, masked_phone
from app.identity.schemas import ConsentOut, GrantOut, MeOut, PersonOut, StaffOut


@dataclass(frozen=True, slots=True)
class Recipient:
    """What sending a message must know of an account; nothing personal."""

    active: bool
    locale: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Where messages of ours can reach an account. Opened one by one at the moment of sending, and shown to nobody."""

    account_id: UUID
    phone_sealed: bytes | None = field(default=None, repr=False)
    email_sealed: bytes | None = field(default=None, repr=False)

    def phone(self) -> str:
        """Open the phone number."""
        return opened(self.account_id, "phone", self.phone_sealed) or ""

    def email(self) -> str:
        """Open the e-mail address."""
        return opened(self.account_id, "email", self.email_sealed) or ""


def phone_index(phone: str) -> bytes:
    """Give the blind index of a normal phone."""
    return crypto.blind_index(phone, "phone")


def email_index(email: str) -> bytes:
    """Give the blind index of a normal e-mail address."""
    return crypto.blind_index(email, "email")


def sealed(account_id: UUID, column: str, text: str) -> bytes:
    """Seal `text` for one column of one account's identity; it opens nowhere else."""
    return crypto.seal(text, f"identity:{account_id}:{column}")


def opened(account_id: UUID, column: str, blob: bytes | None) -> str | None:
    """Open what `sealed` made."""
    return None if blob is None else crypto.unseal(bytes(blob), f"identity:{account_id}:{column}")


def person(identity: Identity) -> PersonOut:
    """Open an identity. Only `actions.read_identity`, which logs it, and people's own pages may call this."""
    who = identity.account_id
    return PersonOut(
        who,
        opened(who, "name", identity.name_sealed),
        opened(who, "phone", identity.phone_sealed),
        opened(who, "email", identity.email_sealed),
    )


def account_of_phone(session: Session, phone: str) -> Account | None:
    """Find the account that holds a normal phone."""
    statement = select(Account).join(Identity).where(Identity.phone_index == phone_index(phone))
    return session.exec(statement).one_or_none()


def credential(session: Session, email: str) -> Credential | None:
    """Find the password of an active staff account by its normal e-mail address."""
    statement = (
        select(Credential)
        .join(Account, col(Account.id) == col(Credential.account_id))
        .join(Identity, col(Identity.account_id) == col(Account.id))
        .where(Identity.email_index == email_index(email), Account.kind == "staff", Account.status == "active")
    )
    return session.exec(statement).one_or_none()


def me(session: Session, viewer: Viewer) -> MeOut:
    """Show the viewer's own account; somebody blocked or erased meanwhile is no longer signed in."""
    statement = select(Account, Identity).join(Identity, isouter=True).where(Account.id == viewer.id)
    found = session.exec(statement).one_or_none()
    if found is None or found[0].status != "active":
        raise UNAUTHENTICATED.error()
    account, identity = found
    own = person(identity) if identity else PersonOut(account.id, None, None, None)
    consent = identity and identity.consent_version and identity.consent_at
    return MeOut.model_validate(
        {
            "id": account.id,
            "kind": account.kind,
            "name": own.name,
            "phone_masked": own.phone and masked_phone(own.phone),
            "email_masked": own.email and masked_email(own.email),
            "locale": account.locale,
            "grants": [GrantOut(role=grant.role, unit_id=grant.unit_id) for grant in viewer.grants],
            "consent": ConsentOut(version=identity.consent_version, at=identity.consent_at) if consent else None,
            "created_at": account.created_at,
        }
    )


def recipients(session: Session, account_ids: Collection[UUID]) -> dict[UUID, Recipient]:
    """Tell whether accounts may still be written to, and in which language."""
    statement = select(Account.id, Account.status, Account.locale).where(col(Account.id).in_(account_ids))
    return {found: Recipient(status == "active", locale) for found, status, locale in session.exec(statement)}


def reach(session: Session, account_ids: Collection[UUID]) -> dict[UUID, Reach]:
    """Tell where accounts can be reached; for sending messages only, nothing is opened here."""
    statement = select(Identity.account_id, Identity.phone_sealed, Identity.email_sealed)
    rows = session.exec(statement.where(col(Identity.account_id).in_(account_ids)))
    return {account_id: Reach(account_id, phone, email) for account_id, phone, email in rows}


def staff_names(session: Session, account_ids: Collection[UUID]) -> dict[UUID, str]:
    """Name staff members, for colleagues. Citizens are never named here: their names need `actions.read_identity`."""
    statement = (
        select(Identity)
        .join(Account, col(Account.id) == col(Identity.account_id))
        .where(col(Account.id).in_(account_ids), Account.kind == "staff")
    )
    return {row.account_id: person(row).name or "" for row in session.exec(statement)}


def staff(session: Session, *, after: UUID | None, limit: int) -> Sequence[StaffOut]:
    """List staff accounts in the order they were opened; keyset by id."""
    statement = _STAFF.order_by(col(Account.id)).limit(limit)
    return _shown(session, statement if after is None else statement.where(col(Account.id) > after))


def staff_member(session: Session, account_id: UUID) -> StaffOut:
    """Show one staff account."""
    (found,) = _shown(session, _STAFF.where(Account.id == account_id))
    return found


def serving(session: Session, unit_ids: Collection[UUID], roles: Collection[Role]) -> Sequence[tuple[UUID, Role]]:
    """Who of the active staff holds one of `roles` in one of these units now, in their own name."""
    at = clock.now()
    statement = (
        select(Membership.account_id, Membership.role)
        .join(Account, col(Account.id) == col(Membership.account_id))
        .where(
            col(Membership.unit_id).in_(unit_ids),
            col(Membership.role).in_([role.value for role in roles]),
            col(Membership.valid_from) <= at,
            or_(col(Membership.valid_to).is_(None), col(Membership.valid_to) > at),
            Account.status == "active",
        )
    )
    return [(account_id, Role(role)) for account_id, role in session.exec(statement)]


def held_in(session: Session, unit_ids: Collection[UUID], at: datetime) -> Sequence[Membership]:
    """The roles held in these units at a moment or later."""
    statement = select(Membership).where(
        col(Membership.unit_id).in_(unit_ids), or_(col(Membership.valid_to).is_(None), col(Membership.valid_to) > at)
    )
    return session.exec(statement.order_by(col(Membership.id))).all()


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A role that ended with its unit."""

    account_id: UUID
    role: str
    unit_id: UUID


def lapsed_roles(session: Session, unit_ids: Collection[UUID]) -> list[Lapsed]:
    """The roles that lapsed because these units ended, as `actions.follow_units` left it in the audit rows."""
    unit = col(AuditEntry.before)["unit_id"].astext
    rows = session.execute(
        select(AuditEntry.subject, col(AuditEntry.before)["role"].astext, unit)
        .where(
            AuditEntry.topic == "staff",
            col(AuditEntry.after)["lapsed"].astext.is_not(None),
            unit.in_([str(each) for each in unit_ids]),
        )
        .order_by(col(AuditEntry.at), col(AuditEntry.id))
    )
    return [Lapsed(UUID(account), role, UUID(of)) for account, role, of in rows]


def holders(session: Session, roles: Collection[str], at: datetime) -> Sequence[tuple[UUID, str, UUID | None]]:
    """Tell who holds one of these roles at a moment and where (None: the province); accounts that may sign in only."""
    statement = (
        select(Membership.account_id, Membership.role, Membership.unit_id)
        .join(Account, col(Account.id) == col(Membership.account_id))
        .where(
            Account.status == "active",
            col(Membership.role).in_(roles),
            col(Membership.valid_from) <= at,
            or_(col(Membership.valid_to).is_(None), col(Membership.valid_to) > at),
        )
    )
    return session.exec(statement).all()


_STAFF = select(Account, Identity).join(Identity).where(Account.kind == "staff")


def _shown(session: Session, statement: "Select[Account, Identity]") -> list[StaffOut]:
    rows = session.exec(statement).all()
    grants = _grants(session, [account.id for account, _ in rows])
    return [
        StaffOut.model_validate(
            {
                "id": account.id,
                "name": (who := person(identity)).name,
                "email_masked": who.email and masked_email(who.email),
                "status": account.status,
                "grants": grants.get(account.id, []),
                "created_at": account.created_at,
            }
        )
        for account, identity in rows
    ]


def _grants(session: Session, account_ids: Collection[UUID]) -> dict[UUID, list[GrantOut]]:
    at = clock.now()
    statement = (
        select(Membership)
        .where(
            col(Membership.account_id).in_(account_ids),
            col(Membership.valid_from) <= at,
            or_(col(Membership.valid_to).is_(None), col(Membership.valid_to) > at),
        )
        .order_by(col(Membership.id))
    )
    held: dict[UUID, list[GrantOut]] = {}
    for row in session.exec(statement):
        held.setdefault(row.account_id, []).append(GrantOut(role=Role(row.role), unit_id=row.unit_id))
    return held
