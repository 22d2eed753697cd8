import pytest
from fastapi import Request

from app.core.etag import etag, not_modified


def asking(*headers: str) -> Request:
    return Request({"type": "http", "headers": [(b"if-none-match", header.encode()) for header in headers]})


def test_a_tag_follows_its_parts_and_where_they_end() -> None:
    assert etag("a", 1) == etag("a", 1)
    assert len({etag("ab", "c"), etag("a", "bc"), etag("abc"), etag(b"abc", "")}) == 4
    assert etag("a").startswith('"')
    assert etag("a").endswith('"')


@pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"other", {tag}', '"other" , W/{tag}', "*"])
def test_who_holds_the_tag_gets_304(form: str) -> None:
    tag = etag("a")
    answer = not_modified(asking(form.format(tag=tag)), tag)
    assert answer is not None
    assert answer.status_code == 304
    assert answer.headers["etag"] == tag
    assert answer.body == b""


def test_the_tag_may_stand_in_a_second_header_line() -> None:
    assert not_modified(asking('"other"', etag("a")), etag("a")) is not None


@pytest.mark.parametrize("headers", [(), ('"other"',), ("",), (etag("a")[1:-1],)])
def test_who_does_not_gets_the_body(headers: tuple[str, ...]) -> None:
    assert not_modified(asking(*headers), etag("a")) is None
