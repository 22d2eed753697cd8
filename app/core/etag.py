"""Conditional requests (RFC 9110): a tag for what was served, and 304 for who already has it."""

import hashlib

from fastapi import Request, Response


def etag(*parts: object) -> str:
    """A strong entity tag, quoted, that changes when any of `parts` changes."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return f'"{digest.hexdigest()[:32]}"'


def not_modified(request: Request, tag: str) -> Response | None:
    """The 304 answer when the caller's If-None-Match names `tag` (weak comparison), otherwise None."""
    given = ",".join(request.headers.getlist("if-none-match"))
    names = {name.strip().removeprefix("W/") for name in given.split(",")}
    if "*" in names or tag in names:
        return Response(status_code=304, headers={"ETag": tag})
    return None
