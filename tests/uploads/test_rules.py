"""What the headers of tus may say."""

import base64
import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.uploads import rules
from app.uploads.rules import Unreadable


@given(st.integers(0, 10**15 - 1))
def test_a_number_is_read(value: int) -> None:
    assert rules.number(str(value)) == value


@pytest.mark.parametrize("text", [None, "", "-1", "+1", "1.0", " 1", "0x10", "١٢", "1_000", "9" * 16, "NaN"])
def test_anything_else_is_no_number(text: str | None) -> None:
    with pytest.raises(Unreadable):
        rules.number(text)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
@given(data=st.binary(max_size=50))
def test_a_checksum_is_read(algorithm: str, data: bytes) -> None:
    digest = hashlib.new(algorithm, data).digest()
    read = rules.checksum(f"{algorithm} {base64.b64encode(digest).decode()}")
    assert read == rules.Checksum(algorithm, digest)


def test_no_checksum_is_none() -> None:
    assert rules.checksum(None) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha1",
        "sha1 ",
        "sha1 !!!!",
        "sha1 " + base64.b64encode(bytes(32)).decode(),
        "sha256 " + base64.b64encode(bytes(20)).decode(),
        "md5 " + base64.b64encode(bytes(16)).decode(),
        "SHA1 " + base64.b64encode(bytes(20)).decode(),
    ],
)
def test_anything_else_is_no_checksum(text: str) -> None:
    with pytest.raises(Unreadable):
        rules.checksum(text)


@pytest.mark.parametrize(
    "text",
    ["filename YS5qcGc=", "filename YS5qcGc=,is_confidential", "a ,b YQ==", "filename YS5qcGc=, filetype aW1hZ2U="],
)
def test_metadata_comes_back_as_it_came(text: str) -> None:
    assert rules.metadata(text) == text


def test_no_metadata_is_empty() -> None:
    assert rules.metadata(None) == rules.metadata("") == rules.metadata("  ") == ""


@pytest.mark.parametrize(
    "text",
    [",", "a,,b", "a YQ== b", "a YQ==,a YQ==", "tên YQ==", "a \x00", "a =YQ", "x" * 2049, "a\tYQ=="],
)
def test_anything_else_is_no_metadata(text: str) -> None:
    with pytest.raises(Unreadable):
        rules.metadata(text)


@given(st.text(max_size=60))
def test_whatever_comes_back_can_stand_in_a_header(text: str) -> None:
    with contextlib.suppress(Unreadable):
        assert rules.metadata(text).isascii()
        assert rules.metadata(text).isprintable()
