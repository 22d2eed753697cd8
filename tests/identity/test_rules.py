"""Phones, e-mails, pseudonyms, access tokens and addresses, exhaustively."""

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import ALPHABET
from app.identity import rules
from app.identity.rules import Claims

AT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
KEY = b"k" * 43


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        ("0912345678", "0912345678"),
        ("0912 345 678", "0912345678"),
        ("0912.345.678", "0912345678"),
        ("0912-345-678", "0912345678"),
        ("0912\u2013345\u2013678", "0912345678"),
        ("\u00a00912\u00a0345678 ", "0912345678"),
        ("+84912345678", "0912345678"),
        ("+84 912 345 678", "0912345678"),
        ("+84 (0) 912 345 678", "0912345678"),
        ("84912345678", "0912345678"),
        ("0084912345678", "0912345678"),
        ("0345678901", "0345678901"),
        ("0561234567", "0561234567"),
        ("0761234567", "0761234567"),
        ("0841234567", "0841234567"),
        ("+84841234567", "0841234567"),
        ("0208 3855 123", "02083855123"),
        ("+84 208 3855 123", "02083855123"),
        ("0209 3870 456", "02093870456"),
    ],
)
def test_phones_are_written_in_many_ways(typed: str, normal: str) -> None:
    assert rules.normal_phone(typed) == normal


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "0",
        "912345678",  # no leading zero
        "091234567",  # one digit short
        "09123456789",  # one too many
        "0112345678",  # no such mobile prefix
        "0612345678",
        "0212345678",  # a landline one digit short
        "841234567",  # 084… without its zero is not +84 1…
        "+85 912345678",
        "0912345678x",
        "٠٩١٢٣٤٥٦٧٨",  # digits of another script
        "0912345678\x00",
        "0912345678\n0",
        "++84912345678",
    ],
)
def test_what_is_no_vietnamese_phone_is_refused(typed: str) -> None:
    assert rules.normal_phone(typed) is None


@given(st.text(max_size=40))
def test_a_normal_phone_is_normal_already(typed: str) -> None:
    normal = rules.normal_phone(typed)
    assert normal is None or rules.normal_phone(normal) == normal


@given(
    st.sampled_from("35789"), st.text("0123456789", min_size=8, max_size=8), st.sampled_from(["", "+84", "84", "0084"])
)
def test_every_mobile_folds_to_itself(second: str, rest: str, prefix: str) -> None:
    phone = f"0{second}{rest}"
    assert rules.normal_phone(prefix + phone[1:] if prefix else phone) == phone
    assert rules.is_mobile(phone)


def test_a_landline_is_a_phone_but_no_mobile() -> None:
    assert not rules.is_mobile("02083855123")


def test_a_masked_phone_keeps_three_digits() -> None:
    assert rules.masked_phone("0912345678") == "•••••••678"


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        (" Can.Bo@ThaiNguyen.GOV.VN ", "can.bo@thainguyen.gov.vn"),
        ("a@b.vn", "a@b.vn"),
        ("a@b", None),
        ("a b@c.vn", None),
        ("@c.vn", None),
        ("a@@c.vn", None),
        ("a@c..vn", None),
        ("a\x00@c.vn", None),
        ("", None),
        ("a@" + "b" * 260 + ".vn", None),
    ],
)
def test_e_mail_addresses_are_case_folded(typed: str, normal: str | None) -> None:
    assert rules.normal_email(typed) == normal


def test_a_pseudonym_is_stable_in_a_case_and_unrelated_between_cases() -> None:
    account, cases = uuid4(), [uuid4() for _ in range(200)]
    names = [rules.pseudonym(account, case) for case in cases]
    assert names == [rules.pseudonym(account, case) for case in cases]
    assert len(set(names)) > 190
    assert rules.pseudonym(uuid4(), cases[0]) != names[0]
    for name in names:
        prefix, letters = name[:-4], name[-4:]
        assert prefix == "Công dân "
        assert set(letters) <= set(ALPHABET)


def test_codes_are_six_digits_even_when_small() -> None:
    codes = {rules.new_code() for _ in range(500)}
    assert all(len(code) == 6 and code.isascii() and code.isdigit() for code in codes)
    assert len(codes) > 450


@pytest.mark.parametrize(
    ("role", "in_province", "in_unit"),
    [
        ("dispatcher", True, False),
        ("administrator", True, False),
        ("auditor", True, False),
        ("integration", True, False),
        ("officer", False, True),
        ("lead", False, True),
        ("assistant", False, True),
        ("leader", True, True),
        ("citizen", False, False),
        ("emperor", False, False),
    ],
)
def test_each_role_has_its_scope(role: str, in_province: bool, in_unit: bool) -> None:
    assert rules.scope_fits(role, None) is in_province
    assert rules.scope_fits(role, uuid4()) is in_unit


def test_citizens_stay_signed_in_by_use_and_staff_sign_in_each_day() -> None:
    later = AT + timedelta(hours=11)
    assert rules.refresh_expiry("citizen", AT, later) == later + timedelta(days=180)
    assert rules.refresh_expiry("staff", AT, later) == AT + timedelta(hours=12)


# Access tokens


def claims() -> Claims:
    return Claims(uuid4(), uuid4(), "citizen")


def payload(**changes: object) -> dict[str, object]:
    whole: dict[str, object] = {
        "sub": str(UUID(int=1)),
        "sid": str(UUID(int=2)),
        "kind": "staff",
        "iat": int(AT.timestamp()),
        "exp": int(AT.timestamp()) + 900,
        "iss": rules.ISSUER,
        "aud": rules.AUDIENCE,
    }
    return {name: value for name, value in (whole | changes).items() if value is not ...}


def test_a_token_says_who_it_speaks_for_until_it_expires() -> None:
    who = claims()
    token = rules.access_token(who, KEY, AT)
    assert rules.read_access_token(token, KEY, AT) == who
    assert rules.read_access_token(token, KEY, AT + timedelta(minutes=14, seconds=59)) == who
    assert rules.read_access_token(token, KEY, AT + timedelta(minutes=15)) is None
    assert rules.read_access_token(token, KEY, AT - timedelta(minutes=1)) is None


def test_a_token_read_before_is_still_compared_with_the_time_and_the_key() -> None:
    token = rules.access_token(claims(), KEY, AT)
    assert rules.read_access_token(token, KEY, AT) is not None
    assert rules.read_access_token(token, KEY, AT + timedelta(hours=1)) is None
    assert rules.read_access_token(token, KEY + b"k", AT) is None
    assert rules.read_access_token(token + " " * 1024, KEY, AT) is None


def test_the_forged_payload_would_do_with_the_right_key() -> None:
    """Otherwise the refusals below would prove nothing."""
    assert rules.read_access_token(jwt.encode(payload(), KEY, "HS256"), KEY, AT) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another-api"},
        {"iss": "somebody"},
        {"kind": "administrator"},
        {"kind": ["staff"]},
        {"sub": "1"},
        {"sub": 1},
        {"sid": None},
        {"exp": "soon"},
        {"exp": 10**30},
        {"exp": ...},
        {"iat": ...},
        {"sub": ...},
        {"sid": ...},
        {"kind": ...},
        {"aud": ...},
        {"iss": ...},
    ],
)
def test_a_token_with_other_claims_is_refused(changes: dict[str, object]) -> None:
    try:
        token = jwt.encode(payload(**changes), KEY, "HS256")
    except TypeError:  # the library refuses to write what another may still send
        token = unsigned(payload(**changes), "HS256")
    assert rules.read_access_token(token, KEY, AT) is None


def unsigned(body: dict[str, object], algorithm: str) -> str:
    parts = [{"alg": algorithm, "typ": "JWT"}, body]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "HS512", "RS256", ""])
def test_an_unsigned_token_is_refused_whatever_it_calls_itself(algorithm: str) -> None:
    assert rules.read_access_token(unsigned(payload(), algorithm), KEY, AT) is None


@pytest.mark.parametrize("token", [jwt.encode(payload(), b"z" * 43, "HS256"), jwt.encode(payload(), KEY * 2, "HS512")])
def test_another_key_or_algorithm_is_refused(token: str) -> None:
    assert rules.read_access_token(token, KEY, AT) is None
    assert rules.read_access_token(token, KEY * 2, AT) is None


@given(st.text(max_size=200))
def test_any_other_text_is_refused(token: str) -> None:
    assert rules.read_access_token(token, KEY, AT) is None


@given(st.integers(0, 400), st.characters())
def test_a_token_changed_anywhere_is_refused_or_the_same(place: int, char: str) -> None:
    who = Claims(UUID(int=1), UUID(int=2), "citizen")
    token = rules.access_token(who, KEY, AT)
    place %= len(token)
    changed = token[:place] + char + token[place + 1 :]
    assert rules.read_access_token(changed, KEY, AT) in (None, who)


# Addresses


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("113.160.10.77", "113.160.10.0/24"),
        ("::ffff:113.160.10.77", "113.160.10.0/24"),
        ("2402:800:61c5:9f::1", "2402:800:61c5::/48"),
        ("testclient", "testclient"),
    ],
)
def test_addresses_count_by_their_neighbourhood(address: str, network: str) -> None:
    assert rules.coarse(address) == network


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        ("9.9.9.9", "1.1.1.1", (), "9.9.9.9"),
        ("9.9.9.9", "1.1.1.1", ("10.0.0.0/8",), "9.9.9.9"),
        ("10.0.0.1", "1.1.1.1", ("10.0.0.0/8",), "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1", ("10.0.0.0/8",), "1.1.1.1"),  # what stands further left is made up
        ("10.0.0.1", "1.1.1.1, 10.0.0.2", ("10.0.0.0/8",), "1.1.1.1"),
        ("10.0.0.1", "1.1.1.1, 10.0.0.2", ("10.0.0.1",), "10.0.0.2"),
        ("10.0.0.1", "", ("10.0.0.0/8",), "10.0.0.1"),
        ("10.0.0.1", "nonsense", ("10.0.0.0/8",), "10.0.0.1"),
        ("::ffff:10.0.0.1", "1.1.1.1", ("10.0.0.0/8",), "1.1.1.1"),
        ("testclient", "1.1.1.1", ("10.0.0.0/8",), "testclient"),
    ],
)
def test_only_listed_proxies_are_believed(peer: str, forwarded: str, trusted: tuple[str, ...], address: str) -> None:
    assert rules.forwarded_address(peer, forwarded, trusted) == address
