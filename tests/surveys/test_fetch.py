"""Downloads of boundaries from a server that may do anything: what the operator is told, and that nothing changed."""

import fcntl
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from sqlmodel import Session, select
from typer.testing import CliRunner, Result

from app.boundaries.models import BoundaryVersion
from app.boundaries.schemas import FILE, SourceFile, check_source, read_source
from app.cli import cli
from app.core.config import settings
from app.core.download import Patience
from app.core.packfile import PackError
from app.core.remarks import DeliveryError
from app.core.versioned import bump
from app.identity.models import AuditEntry
from app.surveys.actions import fetch_files, prepare, store
from tests.boundaries.versions import state
from tests.orgunits.packs import PACK
from tests.running import Mark, Running
from tests.support import places
from tests.surveys.server import Served, serving, squares

HURRIED = Patience(connect_s=2, read_s=0.3, total_s=20, tries=2, rest_s=0.01)
ONE = "01840_x.geojson"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture
def served(files: dict[str, bytes]) -> Iterator[Served]:
    with serving(dict(files)) as served:
        yield served


def refused(served: Served, folder: Path, patience: Patience = HURRIED) -> list[str]:
    with pytest.raises(DeliveryError) as error:
        fetch_files(served.manifest(), folder, patience)
    return [fault.en for fault in error.value.faults]


def test_a_good_download_is_imported_by_the_codes_of_the_list(session: Session, served: Served, tmp_path: Path) -> None:
    found = fetch_files(served.manifest(), tmp_path / "down", HURRIED)
    summary = store(session, prepare(session, found, effective_from=places.EFFECTIVE), source="s", licence="l")
    assert (summary.created, summary.communes) == (True, 92)
    assert len(served.asked) == 92
    # What is whole is not asked for again, and the same files are the same version.
    again = fetch_files(served.manifest(), tmp_path / "down", HURRIED)
    assert len(served.asked) == 92
    prepared = prepare(session, again, effective_from=places.EFFECTIVE)
    assert (prepared.known, store(session, prepared, source="s", licence="l").created) == (True, False)


def test_strangers_in_the_folder_are_not_read(session: Session, served: Served, tmp_path: Path) -> None:
    found = fetch_files(served.manifest(), tmp_path, HURRIED)
    (tmp_path / "stranger.geojson").write_text("{")
    assert len(prepare(session, found, effective_from=places.EFFECTIVE).areas) == 92


def test_a_cut_transfer_is_continued_where_it_ended(served: Served, tmp_path: Path) -> None:
    served.habits[ONE] = "truncates once"
    found = fetch_files(served.manifest(), tmp_path, HURRIED)
    assert served.asked_for(ONE) == [None, f"bytes={len(served.files[ONE]) // 2}-"]
    assert (found.path / ONE).read_bytes() == served.files[ONE]
    assert not list(tmp_path.glob("*.part"))


def test_what_came_is_kept_for_the_next_day(served: Served, tmp_path: Path) -> None:
    served.habits[ONE] = "stalls"
    half = len(served.files[ONE]) // 2
    [fault] = refused(served, tmp_path, Patience(read_s=0.3, tries=1))
    assert fault == f"wards/{ONE}: nothing came any more after {half} of {len(served.files[ONE])} bytes"
    assert (tmp_path / f"{ONE}.part").stat().st_size == half
    assert not (tmp_path / ONE).exists()
    served.habits.clear()
    fetch_files(served.manifest(), tmp_path, HURRIED)
    assert served.asked_for(ONE) == [None, f"bytes={half}-"]


def test_a_server_that_ignores_ranges_starts_again(served: Served, tmp_path: Path) -> None:
    (tmp_path / f"{ONE}.part").write_bytes(served.files[ONE][:50])
    served.habits[ONE] = "ignores range"
    fetch_files(served.manifest(), tmp_path, HURRIED)
    assert served.asked_for(ONE) == ["bytes=50-"]
    assert (tmp_path / ONE).read_bytes() == served.files[ONE]


@pytest.mark.parametrize("beginning", [b"rubbish" * 5, b"x" * 100_000])
def test_a_beginning_that_does_not_fit_is_dropped(served: Served, tmp_path: Path, beginning: bytes) -> None:
    (tmp_path / f"{ONE}.part").write_bytes(beginning)
    fetch_files(served.manifest(), tmp_path, HURRIED)
    assert (tmp_path / ONE).read_bytes() == served.files[ONE]


def test_a_file_that_was_changed_here_is_loaded_again(served: Served, tmp_path: Path) -> None:
    (tmp_path / ONE).write_bytes(served.files[ONE][::-1])
    fetch_files(served.manifest(), tmp_path, HURRIED)
    assert (tmp_path / ONE).read_bytes() == served.files[ONE]


@pytest.mark.parametrize(
    ("habit", "sentence", "requests"),
    [
        ("truncates", "the connection broke after 123 of 164 bytes", 2),
        ("lies", "not .* as the pack says; it was deleted", 1),
        ("sends too much", "the server sends more than the 164 bytes that the pack says; it was deleted", 1),
        ("404", "the server answered 404", 2),
        ("500", "the server answered 500", 2),
        ("302", "the server answered 302", 2),
    ],
)
def test_a_bad_answer_is_told_and_changes_nothing(
    served: Served, tmp_path: Path, habit: str, sentence: str, requests: int
) -> None:
    served.habits[ONE] = habit
    [fault] = refused(served, tmp_path)
    assert fault.startswith(f"wards/{ONE}: ")
    assert re.search(sentence, fault), fault
    assert len(served.asked_for(ONE)) == requests
    assert not (tmp_path / ONE).exists()
    assert (tmp_path / f"{ONE}.part").exists() == (habit == "truncates")
    # The others came: the next try asks for this one only.
    assert len(list(tmp_path.glob("*.geojson"))) == 91


def test_the_whole_download_is_bounded_in_time(served: Served, tmp_path: Path) -> None:
    served.habits = dict.fromkeys(served.files, "drips")
    started = time.monotonic()
    faults = refused(served, tmp_path, Patience(read_s=5, total_s=0.4, tries=3))
    assert time.monotonic() - started < 3
    assert len(faults) == 92
    assert all("not finished within 0 s" in fault for fault in faults)


def test_a_server_that_is_not_there_is_one_sentence(served: Served, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        served.address = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        started = time.monotonic()
        [fault] = refused(served, tmp_path)
    assert "127.0.0.1 cannot be reached (" in fault
    assert time.monotonic() - started < 2


def test_two_downloads_do_not_write_the_same_files(served: Served, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        [fault] = refused(served, tmp_path)
    assert fault.startswith("another download into the same folder is going on")
    assert served.asked == []


# The list of files -------------------------------------------------------------------------------------------------


def test_the_shipped_list_names_the_real_files(real_data: Path) -> None:
    source = read_source(PACK)
    published = yaml.safe_load((real_data / "boundaries_source.json").read_text())
    assert source.address is not None
    assert [(source.address + entry.path, entry.bytes, entry.sha256) for entry in source.files] == [
        (
            f"https://raw.githubusercontent.com/{published['repository']}/{published['commit']}/{each['path']}",
            each["bytes"],
            each["sha256"],
        )
        for each in published["files"]
    ]
    assert {entry.code for entry in source.files} == {"19", *places.codes()}


def edited(tmp_path: Path, old: str, new: str) -> Path:
    text = (PACK / FILE).read_text()
    assert old in text
    (tmp_path / FILE).write_text(text.replace(old, new))
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("address: https:", "address: http:", "should match pattern"),
        ("path: wards/01840_duc_xuan", "path: ../wards/01840_duc_xuan", "should match pattern"),
        ("path: wards/01840_duc_xuan.geojson", "path: wards/01840_duc_xuan.zip", "should match pattern"),
        ("bytes: 85361", "bytes: 99999999999", "less than or equal to 67108864"),
        ("sha256: 87721bdd", "sha256: 8772xbdd", "should match pattern"),
        ("wards/01840_duc_xuan", "wards/01843_bac_kan", "wards/01843_bac_kan.geojson stands in 2 entries"),
        ("wards/01840_duc_xuan", "other/01843_bac_kan", "The name 01843_bac_kan.geojson stands in 2 entries"),
        ('code: "01840"', 'code: "01843"', "The code 01843 stands in 2 entries"),
        ('code: "01840"', 'code: "09999"', "No commune of the pack has the code 09999"),
        ("address: https", "address: null #", "An address needs files, and files need an address"),
    ],
)
def test_a_mistake_in_the_list_is_found(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    where = edited(tmp_path, old, new)
    units = dict.fromkeys(["19", *places.codes()], "x")
    findings = [str(finding) for finding in check_source(where, units)]
    assert len(findings) >= 1
    assert any(sentence in finding for finding in findings), findings


def test_a_pack_may_have_nothing_to_download(tmp_path: Path) -> None:
    nothing = SourceFile(address=None, source="by hand", licence="none", effective=places.EFFECTIVE, files=[])
    with pytest.raises(DeliveryError, match="import yours with `phananh boundaries import`"):
        fetch_files(nothing, tmp_path)
    with pytest.raises(PackError, match="missing"):
        read_source(tmp_path)


# The command -------------------------------------------------------------------------------------------------------


def configured(served: Served, where: Path) -> Path:
    """A copy of the shipped pack that lists the files of the local server."""
    shutil.copytree(PACK, where)
    listed = yaml.safe_dump(served.manifest().model_dump(mode="json"))
    (where / FILE).write_text(listed.replace("'2025-07-01'", "2025-07-01"))  # dates stand unquoted in these files
    return where


@pytest.fixture
def pack(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: Session) -> Iterator[Path]:
    """The shipped pack, with the files of the local server; the configured one for this test."""
    where = configured(served, tmp_path / "pack")
    monkeypatch.setenv("PHANANH_PROVINCE_PACK", str(where))
    monkeypatch.setenv("PHANANH_VAR_DIR", str(tmp_path / "var"))
    settings.cache_clear()
    yield where
    monkeypatch.undo()
    settings.cache_clear()


def phananh(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["boundaries", *arguments])


def test_fetch_shows_what_changes_and_leaves_an_audit_row(session: Session, pack: Path) -> None:
    before = state(session)
    dry = phananh("fetch", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "0.0% of the area changes its commune" in dry.output
    assert "nothing was stored" in dry.output
    assert state(session) == before
    done = phananh("fetch", "--effective", "2025-08-01")
    assert done.exit_code == 0, done.output
    assert "surveyed from 2025-08-01, 92 communes" in done.output
    version = session.exec(select(BoundaryVersion).where(BoundaryVersion.source == "a server")).one()
    row = session.exec(select(AuditEntry).where(AuditEntry.subject == str(version.id))).one()
    assert row.after is not None
    assert (row.topic, row.after["effective_from"], row.after["sha256"]) == ("boundaries", "2025-08-01", version.sha256)
    assert state(session)[0] == before[0] + 1


def test_a_failed_fetch_ends_with_the_list(session: Session, pack: Path, served: Served) -> None:
    before = state(session)
    served.habits |= {ONE: "lies", "05443_x.geojson": "404"}
    failed = phananh("fetch")
    assert failed.exit_code == 1
    assert f"wards/{ONE}: its SHA-256 is" in failed.output
    assert "wards/05443_x.geojson: the server answered 404" in failed.output
    assert state(session) == before


def test_make_run_asks_once_and_only_while_boundaries_are_approximate(
    session: Session, pack: Path, served: Served
) -> None:
    quiet = phananh("fetch", "--once")
    assert (quiet.exit_code, quiet.output, served.asked) == (0, "", [])
    for version in session.exec(select(BoundaryVersion).where(BoundaryVersion.accuracy == "surveyed")):
        version.accuracy = "approximate"
        session.add(version)
    bump(session, "boundaries")
    session.commit()
    served.habits = dict.fromkeys(served.files, "404")
    before = state(session)
    failed = phananh("fetch", "--once")
    assert failed.exit_code == 0
    assert failed.output.startswith("Chưa tải được ranh giới đo đạc, tiếp tục với ranh giới gần đúng / surveyed")
    assert failed.output.count("\n") == 1
    assert state(session) == before
    served.habits.clear()
    done = phananh("fetch", "--once")
    assert done.output.splitlines()[-1].startswith("Đã tải và dùng ranh giới đo đạc / surveyed boundaries")
    assert phananh("fetch", "--once").output == ""


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_start_without_a_way_to_the_server_goes_on_with_approximate_boundaries(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        served = Served(files, address=f"http://127.0.0.1:{nobody.getsockname()[1]}/")
        where = configured(served, tmp_path / "pack")
        running = Running(Mark(tmp_path), PHANANH_FETCH_BOUNDARIES="once", PHANANH_PROVINCE_PACK=str(where))
        try:
            running.address()
            running.until("downloaded", 60)
        finally:
            running.process.terminate()
            running.end(60)
    # A machine too busy for the 20 s says that instead.
    told = ("gần đúng / surveyed boundaries could not be downloaded", "boundaries not downloaded in time")
    found = [running.text.find(words) for words in told if words in running.text]
    assert len(found) == 1, running.text
    assert running.text.index("Sẵn sàng / ready (") < found[0]
