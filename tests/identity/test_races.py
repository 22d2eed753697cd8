"""Eight at the same moment, on transactions that really commit."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlmodel import select

from app.core.db import transaction
from app.core.errors import DomainError
from app.embedded import Database
from app.identity import actions
from app.identity.actions import CitizenAttempt
from app.identity.models import Account, Identity, RefreshToken, SignedInSession
from app.identity.rules import CODE_ATTEMPTS
from app.identity.schemas import SessionOut
from app.notifications.actions import owe_sign_in_code, send_owed
from tests.identity.people import CONSENT, PHONE, Inbox, another, open_staff

T = TypeVar("T")
AT_ONCE = 8


def at_once(act: Callable[[], T]) -> list[T]:
    """Do it eight times, all starting at the same moment."""
    gate = threading.Barrier(AT_ONCE)

    def one(_: int) -> T:
        gate.wait(10)
        return act()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def fresh_code() -> str:
    with transaction() as session:
        actions.request_code(session, PHONE, locale="vi", send=owe_sign_in_code)
    inbox = Inbox()
    send_owed(notifier=inbox)
    code = inbox.messages[-1].code
    assert code is not None
    return code


def try_code(code: str) -> SessionOut | DomainError:
    with transaction() as session:
        return actions.sign_in_citizen(session, CitizenAttempt(PHONE, code, CONSENT))


def refresh(token: str) -> str:
    with transaction() as session:
        outcome = actions.refresh(session, token)
    return outcome.refresh_token if isinstance(outcome, SessionOut) else outcome.problem.code


def citizen_token() -> str:
    outcome = try_code(fresh_code())
    assert isinstance(outcome, SessionOut)
    return outcome.refresh_token


def test_eight_refreshes_with_one_token_get_one_successor(committed: Database) -> None:
    first = citizen_token()
    for _ in range(5):
        answers = at_once(lambda token=first: refresh(token))  # type: ignore[misc]
        assert len(set(answers)) == 1
        assert answers[0] not in ("session_reused", first)
        first = answers[0]
    with transaction() as session:
        assert len(session.exec(select(RefreshToken)).all()) == 6


def test_a_reused_token_ends_the_session_once_and_for_all_eight(committed: Database) -> None:
    first = citizen_token()
    last = refresh(refresh(first))
    assert set(at_once(lambda: refresh(first))) == {"session_reused"}
    assert refresh(last) == "session_reused"


def test_one_code_signs_in_once(committed: Database) -> None:
    code = fresh_code()
    outcomes = at_once(lambda: try_code(code))
    assert sum(isinstance(outcome, SessionOut) for outcome in outcomes) == 1
    with transaction() as session:
        assert len(session.exec(select(Account)).all()) == len(session.exec(select(SignedInSession)).all()) == 1


def test_eight_wrong_codes_at_once_are_five_attempts(committed: Database) -> None:
    code = fresh_code()
    outcomes = at_once(lambda: try_code(another(code)))
    codes = [outcome.problem.code for outcome in outcomes if isinstance(outcome, DomainError)]
    assert codes.count("code_wrong") == CODE_ATTEMPTS - 1
    assert codes.count("code_exhausted") == AT_ONCE - CODE_ATTEMPTS + 1


def test_one_address_opens_one_staff_account(committed: Database) -> None:
    def open_one() -> str:
        try:
            return open_staff("a@tn.vn")
        except DomainError as refused:
            return refused.problem.code

    answers = at_once(open_one)
    assert answers.count("email_taken") == AT_ONCE - 1
    with transaction() as session:
        assert len(session.exec(select(Account)).all()) == len(session.exec(select(Identity)).all()) == 1
