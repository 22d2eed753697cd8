"""People who sign in, for tests: real codes out of real messages, real passwords."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from fastapi.testclient import TestClient

from app.core.db import transaction
from app.identity import actions
from app.identity.policy import Grant
from app.identity.rules import Role
from app.notifications.actions import send_owed
from app.notifications.rules import Accepted, Delivery, Outgoing

PHONE = "0912345678"
PASSWORD = "một mật khẩu đủ dài"
CONSENT = "2026-01"

Json = dict[str, Any]


@dataclass
class Inbox:
    """A provider whose messages can be read."""

    messages: list[Outgoing] = field(default_factory=list)

    def send(self, outgoing: Outgoing) -> Delivery:
        self.messages.append(outgoing)
        return Accepted()


def code_for(client: TestClient, phone: str = PHONE) -> str:
    """Ask for a code and read it where it arrives."""
    answer = client.post("/v1/auth/codes", json={"phone": phone})
    assert answer.status_code == 202, answer.text
    inbox = Inbox()
    send_owed(notifier=inbox)
    code = inbox.messages[-1].code
    assert code is not None
    return code


def another(code: str) -> str:
    """A wrong code."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


def signed_in(client: TestClient, phone: str = PHONE, **more: object) -> Json:
    """A citizen's tokens."""
    body = {"phone": phone, "code": code_for(client, phone), "consent_version": CONSENT, **more}
    answer = client.post("/v1/auth/sessions", json=body)
    assert answer.status_code == 201, answer.text
    return cast("Json", answer.json())


def bearer(tokens: Json) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


@cache
def password_hash() -> str:
    return actions.hash_password(PASSWORD)


def open_staff(email: str, grants: Sequence[Grant] = (Grant(Role.DISPATCHER),), name: str = "Trần Văn Bình") -> str:
    """A staff account; gives its id."""
    with transaction() as session:
        account = actions.create_staff(
            session, email=email, password_hash=password_hash(), name=name, grants=grants, actor_id=None
        )
        return str(account.id)


def staff_signed_in(client: TestClient, email: str) -> Json:
    answer = client.post("/v1/auth/staff-sessions", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return cast("Json", answer.json())
