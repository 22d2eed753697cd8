"""Downloading listed files: continued where it was cut, bounded in time and bytes; nothing unverified is kept."""

import fcntl
import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx2

from app.core.remarks import DeliveryError, Remark, named, refusal

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as a list names it: its place below the address, its own name, its length and its SHA-256 (hex)."""

    path: str
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download may take, in seconds: to connect, between two pieces, in all; tries a file, rest between."""

    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 600.0
    tries: int = 3
    rest_s: float = 0.5


PATIENT = Patience()
# At the start of a laptop: together less than 20 s, whatever the network does.
ONCE = Patience(connect_s=3.0, read_s=4.0, total_s=14.0, tries=1)


def download(address: str, files: Sequence[Listed], folder: Path, patience: Patience = PATIENT) -> None:
    """Bring every listed file that is not in `folder` yet, whole and with the right SHA-256.

    DeliveryError names every file that did not come and why. Whole files stay for the next try, and so do beginnings,
    which are continued; a file whose content is not what the list says is deleted. Call it outside any transaction.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal(
                "một lượt tải khác vào cùng thư mục đang chạy; hãy đợi lượt đó xong",
                "another download into the same folder is going on; wait until it ends",
            ) from None
        faults = _Download(address, folder, patience).run(files)
    if faults:
        raise DeliveryError(faults)


class _Untrue(Exception):
    """The server sends something else than the list says; the remark completes a sentence about the file."""

    def __init__(self, vi: str, en: str) -> None:
        self.told = Remark(vi, en)
        super().__init__(en)


class _Cut(Exception):
    """The transfer ended early; what came is kept and can be continued."""

    def __init__(self, vi: str, en: str) -> None:
        self.told = Remark(vi, en)
        super().__init__(en)


class _Download:
    """One run over the files of a list, a few at a time, bounded in time and bytes."""

    def __init__(self, address: str, folder: Path, patience: Patience) -> None:
        self._address, self._folder, self._patience = address, folder, patience
        self._deadline = time.monotonic() + patience.total_s
        self._unreachable: Remark | None = None

    def run(self, entries: Sequence[Listed]) -> list[Remark]:
        """Download what is missing; the faults, of an unreachable server a single one."""
        with httpx2.Client(follow_redirects=False) as client, ThreadPoolExecutor(_AT_ONCE) as pool:
            faults = list(pool.map(lambda entry: self._tried(client, entry), entries))
        return [self._unreachable] if self._unreachable else [fault for fault in faults if fault]

    def _tried(self, client: httpx2.Client, entry: Listed) -> Remark | None:
        """What kept the file from coming, or None."""
        target = self._folder / entry.name
        if _is_whole(target, entry):
            return None
        part, why = target.with_name(f"{entry.name}.part"), self._late()
        for attempt in range(self._patience.tries):
            time.sleep(self._patience.rest_s * attempt)
            if self._unreachable or self._left() <= 0:
                break
            try:
                self._continued(client, entry, part)
                part.replace(target)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                host, told = httpx2.URL(self._address).host, _short(error)
                self._unreachable = Remark(f"không kết nối được {host} ({told})", f"{host} cannot be reached ({told})")
            except httpx2.TimeoutException:
                come = f"{_size(part)}/{entry.bytes}"
                why = Remark(
                    f"không nhận thêm được gì sau {come} byte",
                    f"nothing came any more after {_size(part)} of {entry.bytes} bytes",
                )
            except httpx2.HTTPError as error:
                why = Remark(
                    f"kết nối bị ngắt sau {_size(part)}/{entry.bytes} byte ({_short(error)})",
                    f"the connection broke after {_size(part)} of {entry.bytes} bytes ({_short(error)})",
                )
            except _Cut as error:
                why = error.told
            except _Untrue as error:
                part.unlink(missing_ok=True)
                return named(entry.path).says(
                    f"{error.told.vi}; đã xóa tệp, hãy đối chiếu danh sách với nguồn",
                    f"{error.told.en}; it was deleted: hold the list against the source",
                )
            else:
                return None
        return named(entry.path).says(*why)

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _late(self) -> Remark:
        total = f"{self._patience.total_s:.0f}"
        return Remark(f"chưa xong trong {total} giây", f"not finished within {total} s")

    def _continued(self, client: httpx2.Client, entry: Listed, part: Path) -> None:
        """Bring `part` to its whole length, from where an earlier try ended, and hold it against its SHA-256."""
        have = begun = _size(part)
        if have < entry.bytes:
            timeout = httpx2.Timeout(
                min(self._patience.read_s, self._left()), connect=min(self._patience.connect_s, self._left())
            )
            headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
            with client.stream("GET", self._address + entry.path, headers=headers, timeout=timeout) as answer:
                have = self._received(answer, entry, part, have)
        if have < entry.bytes:
            raise _Cut(
                f"máy chủ dừng sau {have}/{entry.bytes} byte", f"the server ended after {have} of {entry.bytes} bytes"
            )
        if (found := hashlib.sha256(part.read_bytes()).hexdigest()) != entry.sha256:
            told = (
                f"SHA-256 là {found[:12]}…, không phải {entry.sha256[:12]}… như danh sách",
                f"its SHA-256 is {found[:12]}…, not {entry.sha256[:12]}… as the pack says",
            )
            if begun:  # perhaps only the beginning was bad: try again from the start
                part.unlink()
                raise _Cut(*told)
            raise _Untrue(*told)

    def _received(self, answer: httpx2.Response, entry: Listed, part: Path, have: int) -> int:
        """Append what comes; the length then. Never more is stored than the list says."""
        if answer.status_code == HTTPStatus.OK:
            have = 0  # the server sends it from the start, whatever it was asked for
        elif not (have and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
            raise _Cut(f"máy chủ trả lời {answer.status_code}", f"the server answered {answer.status_code}")
        with part.open("ab" if have else "wb") as file:
            for chunk in answer.iter_raw():
                have += len(chunk)
                if have > entry.bytes:
                    raise _Untrue(
                        f"máy chủ gửi nhiều hơn {entry.bytes} byte ghi trong danh sách",
                        f"the server sends more than the {entry.bytes} bytes that the pack says",
                    )
                file.write(chunk)
                if self._left() <= 0:
                    vi, en = self._late()
                    raise _Cut(f"{vi} ({have}/{entry.bytes} byte)", f"{en} ({have} of {entry.bytes} bytes)")
        return have


def _is_whole(file: Path, entry: Listed) -> bool:
    return _size(file) == entry.bytes and hashlib.sha256(file.read_bytes()).hexdigest() == entry.sha256


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _short(error: Exception) -> str:
    return str(error)[:120] or type(error).__name__
