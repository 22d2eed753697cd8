"""A night's seal: once a day, over what is settled, signed, append-only, with proofs anybody can check."""

import hashlib
import json
from base64 import b64encode
from datetime import UTC, date, datetime, timedelta
from threading import Barrier, Thread
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from app.cases.models import Case, CaseEvent
from app.core import clock, db
from app.core.config import settings
from app.core.db import Session
from app.embedded import Database
from app.intake.actions import submit
from app.reports.schemas import ReportIn
from app.seals import queries, rules
from app.seals.actions import seal_if_owed
from app.seals.models import Seal, SealKey, SealLeaf, SealNode
from tests.seals.chains import append, append_in
from tests.support import make

# 00:05 in Vietnam, on the day before in UTC.
NIGHT = datetime(2026, 11, 21, 17, 5, tzinfo=UTC)
DAY = timedelta(days=1)
TABLES = ("seal", "seal_key", "seal_leaf", "seal_node")


def sealed(session: Session, at: datetime = NIGHT) -> Seal:
    with clock.travelled(at):
        seal = seal_if_owed(session)
    assert seal is not None
    return seal


def leaves(session: Session) -> list[SealLeaf]:
    return list(session.exec(select(SealLeaf).order_by(col(SealLeaf.pos))))


def leaf_hashes(session: Session) -> list[bytes]:
    return [rules.leaf_hash(leaf.case_id, leaf.seq, leaf.head) for leaf in leaves(session)]


def grown(hashes: list[bytes]) -> bytes:
    peaks = rules.Peaks()
    for each in hashes:
        peaks.append(each)
    return peaks.root()


def case(session: Session, case_id: UUID) -> Case:
    session.expire_all()
    return session.get_one(Case, case_id)


def public_case(session: Session, client: TestClient) -> UUID:
    case_id = make.routed(session, client, make.citizen(session))
    shown = make.move(client, make.staff(session, "dispatcher"), case_id, "publish", {})
    assert shown.status_code == 200, shown.text
    return case_id


# --- making one ------------------------------------------------------------------------------------------------------


def test_the_first_seal_holds_every_head_in_the_order_of_ids(session: Session, client: TestClient) -> None:
    citizen = make.citizen(session)
    ids = sorted(make.routed(session, client, citizen) for _ in range(3))
    seal = sealed(session)
    assert [leaf.case_id for leaf in leaves(session)] == ids
    assert [(leaf.seq, leaf.head) for leaf in leaves(session)] == [
        (found.version, found.head) for found in (case(session, each) for each in ids)
    ]
    assert (seal.number, seal.size, seal.previous, seal.day) == (1, 3, bytes(32), date(2026, 11, 22))
    assert seal.root == grown(leaf_hashes(session))
    public = session.get_one(SealKey, seal.key_id).public_key
    assert rules.is_signed(public, queries.statement(seal), seal.signature)


def test_a_later_seal_appends_what_grew_and_names_its_predecessor(session: Session, client: TestClient) -> None:
    citizen = make.citizen(session)
    first, second = (make.routed(session, client, citizen) for _ in range(2))
    before = sealed(session)
    assert make.move(client, make.staff(session, "dispatcher"), first, "publish", {}).status_code == 200
    third = make.routed(session, client, citizen)
    after = sealed(session, NIGHT + DAY)
    added = leaves(session)[before.size :]
    assert [leaf.case_id for leaf in added] == sorted([first, third])
    assert second not in {leaf.case_id for leaf in added}
    assert after.previous == queries.statement(before).hash()
    assert after.root == grown(leaf_hashes(session))


def test_a_quiet_day_is_sealed_too(session: Session, client: TestClient) -> None:
    make.routed(session, client, make.citizen(session))
    before, after = sealed(session), sealed(session, NIGHT + DAY)
    assert (after.number, after.size, after.root) == (2, before.size, before.root)


def test_nothing_at_all_has_the_root_of_the_empty_tree(session: Session) -> None:
    assert (sealed(session).size, sealed(session, NIGHT + DAY).root) == (0, rules.EMPTY)


def test_a_day_of_vietnam_is_sealed_once_and_a_missed_one_made_up(session: Session) -> None:
    sealed(session)
    with clock.travelled(datetime(2026, 11, 22, 16, 59, tzinfo=UTC)):  # 23:59 of the same day
        assert seal_if_owed(session) is None
    with clock.travelled(NIGHT - DAY):  # a clock set back
        assert seal_if_owed(session) is None
    late = sealed(session, NIGHT + 3 * DAY + timedelta(hours=9))
    assert (late.number, late.day) == (2, date(2026, 11, 25))


def test_two_schedulers_make_one_seal(committed: Database) -> None:
    start, made = Barrier(4), []
    db.engine()  # one pool for all threads

    def run() -> None:
        start.wait()
        with db.transaction() as session:
            made.append(seal_if_owed(session))

    threads = [Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len([seal for seal in made if seal]) == 1


def test_what_is_not_settled_waits_with_all_that_follows_it(committed: Database) -> None:
    """A transaction older than a chain's last event but one still runs: the chain is sealed up to before both."""
    with db.transaction() as session:
        author = make.citizen(session)
        submit(session, author, ReportIn(**make.report_body("gia_ca_gian_lan")), uuid4())
        case_id = session.exec(select(Case.id)).one()
    with psycopg.connect(committed.app_url) as follower, psycopg.connect(committed.app_url) as running:
        for waiting in (follower, running):  # each has its number before the events below have theirs
            waiting.execute("SELECT pg_current_xact_id()")
        append(committed, case_id, 2)
        append_in(follower, case_id, 3)
        follower.commit()
        with db.transaction() as session:
            seal = sealed(session)
            assert [(leaf.case_id, leaf.seq) for leaf in leaves(session)] == [(case_id, 1)]
            xids = dict(session.exec(select(CaseEvent.seq, CaseEvent.xid)).all())
            assert xids[3] < seal.below_xid <= xids[2]
    with db.transaction() as session:
        sealed(session, NIGHT + DAY)
        assert [(leaf.case_id, leaf.seq) for leaf in leaves(session)] == [(case_id, 1), (case_id, 3)]
        assert list(queries.findings(session)) == []


def test_a_new_key_signs_on_and_the_old_one_stays(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sealed(session)
    monkeypatch.setattr(settings(), "seal_key", b64encode(b"k" * 32).decode())
    after = sealed(session, NIGHT + DAY)
    assert before.key_id != after.key_id
    assert {key.id for key in queries.keys(session)} == {before.key_id, after.key_id}
    assert list(queries.findings(session)) == []


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {} CASCADE", "UPDATE {} SET {} = {}"])
def test_the_application_may_not_rewrite_seals(connection: Connection, table: str, statement: str) -> None:
    column = {"seal": "size", "seal_key": "id", "seal_leaf": "seq", "seal_node": "place"}[table]
    with pytest.raises(DBAPIError, match="permission denied"), connection.begin_nested():
        connection.execute(text(statement.format(table, column, column)))


def test_even_the_owner_meets_a_trigger(committed: Database) -> None:
    with db.transaction() as session:
        submit(session, make.citizen(session), ReportIn(**make.report_body()), uuid4())
    with db.transaction() as session:
        sealed(session)
    for statement in (
        "UPDATE seal SET size = 0",
        "DELETE FROM seal_leaf",
        "TRUNCATE seal_node",
        "DELETE FROM seal_key",
    ):
        with psycopg.connect(committed.owner_url) as owner, pytest.raises(psycopg.errors.RaiseException, match="only"):
            owner.execute(statement)


# --- proofs ----------------------------------------------------------------------------------------------------------


def many(session: Session, number: int) -> None:
    """Leaves of invented cases, and a seal over them."""
    session.execute(
        text(
            "INSERT INTO seal_leaf SELECT n, gen_random_uuid(), 1, sha256(n::text::bytea)"
            " FROM generate_series(0, :last) n"
        ),
        {"last": number - 1},
    )
    peaks = rules.Peaks()
    session.add_all([SealNode(level=n.level, place=n.place, hash=n.hash) for n in queries.grown(session, peaks)])
    session.flush()


def test_proofs_from_kept_hashes_are_those_from_all_leaves(session: Session) -> None:
    many(session, 1100)
    hashes, complete = leaf_hashes(session), queries.complete_subtrees(session)
    root = grown(hashes)
    for index in (0, 255, 256, 600, 1023, 1024, 1099):
        path = rules.inclusion_path(index, 1100, complete)
        assert rules.included_in(hashes[index], index, 1100, path) == root
    for old in (1, 255, 256, 257, 1000, 1024, 1099):
        path = rules.consistency_path(old, 1100, complete)
        assert rules.is_consistent(old, 1100, grown(hashes[:old]), root, path)


@pytest.fixture
def two_nights(session: Session, client: TestClient) -> UUID:
    """A public case that went on between two seals."""
    make.routed(session, client, make.citizen(session))
    case_id = public_case(session, client)
    sealed(session)
    moved = make.move(client, make.staff(session, "dispatcher"), case_id, "message", {"text": "Chào bạn."})
    assert moved.status_code == 200, moved.text
    sealed(session, NIGHT + DAY)
    return case_id


def test_a_citizen_checks_that_the_case_is_in_last_nights_seal(
    session: Session, client: TestClient, two_nights: UUID
) -> None:
    reference = case(session, two_nights).reference
    proof = client.get(f"/v1/cases/{reference.lower()}/proof").json()
    leaf, seal = proof["leaf"], proof["seal"]
    assert seal == client.get("/v1/seals").json()["items"][0] == client.get("/v1/seals/2").json()
    head = bytes.fromhex(leaf["head"])
    found = rules.included_in(
        rules.leaf_hash(UUID(leaf["case_id"]), leaf["seq"], head), leaf["index"], seal["size"], unhex(proof["path"])
    )
    assert found == bytes.fromhex(seal["root"])
    assert [link["seq"] for link in proof["links"]] == list(range(1, leaf["seq"] + 1))
    assert proof["links"][-1]["hash"] == leaf["head"]
    assert signed(client, seal)


def test_the_log_is_proven_to_have_only_grown(client: TestClient, two_nights: UUID) -> None:
    proof = client.get("/v1/seals/2/consistency?from=1").json()
    older, newer = proof["older"], proof["newer"]
    roots = unhex([older["root"], newer["root"]])
    assert rules.is_consistent(older["size"], newer["size"], roots[0], roots[1], unhex(proof["path"]))
    assert older["size"] < newer["size"]
    assert client.get("/v1/seals/2/consistency?from=2").json()["path"] == []


def unhex(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(each) for each in texts]


def signed(client: TestClient, seal: dict[str, Any]) -> bool:
    """As an outsider checks it, from what was published alone."""
    root = rules.TrustedRoot.read(json.dumps(seal))
    keys = {key["id"]: key["public_key"] for key in client.get("/v1/seals/keys").json()["items"]}
    public = bytes.fromhex(keys[seal["key_id"]])
    return rules.key_id(public) == seal["key_id"] and rules.is_signed(public, root.statement, root.signature)


def test_bodies_are_shown_to_their_author_and_to_auditors_only(session: Session, client: TestClient) -> None:
    author = make.citizen(session)
    case_id = make.routed(session, client, author)
    dispatcher = make.staff(session, "dispatcher")
    assert make.move(client, dispatcher, case_id, "publish", {}).status_code == 200
    sealed(session)
    address = f"/v1/cases/{case(session, case_id).reference}/proof"

    def bodies(viewer: Any) -> list[str | None]:
        headers = make.bearer(viewer) if viewer else {}
        return [link["body"] for link in client.get(address, headers=headers).json()["links"]]

    assert [body is not None for body in bodies(author)] == [True, True, False]
    assert bodies(None) == bodies(make.citizen(session)) == bodies(dispatcher) == [None] * 3
    shown = client.get(address, headers=make.bearer(make.staff(session, "auditor"))).json()["links"]
    head = bytes(32)
    for link in shown:
        head = hashlib.sha256(head + link["body"].encode()).digest()
        assert link["hash"] == head.hex()


def test_an_invisible_case_has_no_proof_and_an_unsealed_one_none_yet(session: Session, client: TestClient) -> None:
    author = make.citizen(session)
    reference = case(session, make.routed(session, client, author)).reference
    address = f"/v1/cases/{reference}/proof"
    assert client.get(address).status_code == 404
    assert client.get(address, headers=make.bearer(make.citizen(session))).status_code == 404
    waiting = client.get(address, headers=make.bearer(author))
    assert (waiting.status_code, waiting.json()["code"]) == (409, "not_sealed_yet")
    assert int(waiting.headers["Retry-After"]) > 0
    assert client.get("/v1/cases/khong-co/proof").status_code == 404


def test_a_hidden_report_has_no_public_proof(session: Session, client: TestClient, two_nights: UUID) -> None:
    address = f"/v1/cases/{case(session, two_nights).reference}/proof"
    assert client.get(address).status_code == 200
    hidden = make.move(client, make.staff(session, "dispatcher"), two_nights, "hide", {"reason": "Có thông tin riêng."})
    assert hidden.status_code == 200
    assert client.get(address).status_code == 404


def test_a_page_of_seals_is_followed_to_its_end(session: Session, client: TestClient) -> None:
    for night in range(5):
        sealed(session, NIGHT + night * DAY)
    first = client.get("/v1/seals?limit=2").json()
    second = client.get(f"/v1/seals?limit=2&cursor={first['next_cursor']}").json()
    last = client.get(f"/v1/seals?limit=2&cursor={second['next_cursor']}").json()
    assert [seal["number"] for page in (first, second, last) for seal in page["items"]] == [5, 4, 3, 2, 1]
    assert last["next_cursor"] is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/seals/3", 404),
        ("/v1/seals/0", 422),
        ("/v1/seals/99999999999999999999", 422),
        ("/v1/seals/x", 422),
        ("/v1/seals/2/consistency", 422),
        ("/v1/seals/1/consistency?from=2", 422),
        ("/v1/seals/2/consistency?from=0", 422),
        ("/v1/seals/3/consistency?from=1", 404),
        ("/v1/seals?cursor=x", 400),
    ],
)
def test_what_is_not_there_is_refused(client: TestClient, two_nights: UUID, path: str, status: int) -> None:
    assert client.get(path).status_code == status


@pytest.mark.parametrize("path", ["/v1/seals", "/v1/seals/1", "/v1/seals/2/consistency?from=1"])
def test_what_has_not_changed_is_not_sent_again(client: TestClient, two_nights: UUID, path: str) -> None:
    tag = client.get(path).headers["ETag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
