"""Each kind of tampering is found and named, from within and from the export alone, or stated as undetectable."""

import ast
import hashlib
import json
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine, text
from sqlmodel import col, select
from typer.testing import CliRunner

from app.cases.rules import canonical, link
from app.cli import cli
from app.core.config import ROOT, settings
from app.core.db import Session, sqlalchemy_url, transaction
from app.embedded import Database
from app.identity.models import AuditEntry
from app.seals import queries, rules
from app.seals.models import Seal, SealLeaf
from app.seals.rules import TrustedRoot
from tests.seals.chains import night, submitted, two_nights_and_a_day

Lines = list[dict[str, Any]]
VERIFIER = ROOT / "tools" / "verify_export.py"
FOREIGN = b"f" * 32
RULES_AWAY = [
    *(
        f"ALTER TABLE {table} DISABLE TRIGGER USER"
        for table in ("case_event", "seal", "seal_leaf", "seal_node", "seal_key")
    ),
    "ALTER TABLE case_event DROP CONSTRAINT case_event_case_id_fkey",
    "ALTER TABLE sla_clock DROP CONSTRAINT sla_clock_case_id_fkey",
    "ALTER TABLE seal DROP CONSTRAINT seal_key_id_fkey",
]


@pytest.fixture
def ids(committed: Database) -> list[UUID]:
    return two_nights_and_a_day(committed)


@contextmanager
def tampering(database: Database) -> Iterator[Session]:
    """The owner of the database, with every fence down; nothing of it stays."""
    engine = create_engine(sqlalchemy_url(database.owner_url))
    with engine.connect() as connection, connection.begin() as outer:
        for away in RULES_AWAY:
            connection.execute(text(away))
        with Session(connection) as session:
            yield session
        outer.rollback()
    engine.dispose()


def first(session: Session, trusted: Sequence[TrustedRoot] = ()) -> str | None:
    session.expire_all()
    own = rules.key_id(rules.public_key(b64decode(settings().seal_key)))
    return next(queries.findings(session, trusted, own), None)


def kept() -> list[TrustedRoot]:
    """What somebody keeps elsewhere."""
    with transaction() as session:
        return queries.since(session, 1)


def reference(case_id: UUID) -> str:
    with transaction() as session:
        found: str = session.execute(
            text("SELECT reference FROM case_file WHERE id = :id"), {"id": case_id}
        ).scalar_one()
        return found


# --- from within -----------------------------------------------------------------------------------------------------

E = "case_id = :case AND seq"
ONE = "WHERE number = 1 AND cast(:case AS uuid) IS NOT NULL"
# What is done to case 0 (sealed up to 2, then 4), and how it is named.
DAMAGE = {
    "case {}: event 2: columns and hashed body differ": f"UPDATE case_event SET code = 'x' WHERE {E} = 2",
    "case {}: event 2: hash does not follow from its predecessor": f"""UPDATE case_event SET hash = sha256(hash)
        WHERE {E} = 2""",
    "case {}: event 3 is missing": f"DELETE FROM case_event WHERE {E} = 3",
    "case {}: event 2: columns and hashed body differ ": """UPDATE case_event e SET body = o.body, hash = o.hash
        FROM case_event o WHERE o.case_id = e.case_id AND o.seq = 5 - e.seq AND e.case_id = :case
        AND e.seq IN (2, 3)""",
    "case {}: event 5: the case's row says version 5, its events end at 4": """UPDATE case_file SET version = 5
        WHERE id = :case""",
    "case {}: event 4: the case's row has another head": "UPDATE case_file SET head = sha256(head) WHERE id = :case",
    "case {}: event 2: its hash is not the head that was sealed": f"""UPDATE seal_leaf SET head = sha256(head)
        WHERE {E} = 2""",
    "case {}: event 1 is missing": "DELETE FROM case_event WHERE case_id = :case",
    "leaf 4 of the log is missing": "DELETE FROM seal_leaf WHERE pos = 4 AND cast(:case AS uuid) IS NOT NULL",
    "seal 1: its root does not follow from the leaves": f"UPDATE seal SET root = sha256(root) {ONE}",
    "seal 1: the signature is not of key": f"UPDATE seal SET at = at - interval '1 day' {ONE}",
    "seal 1 is missing": f"DELETE FROM seal {ONE}",
    "leaf 7 of the log belongs to no seal": "DELETE FROM seal WHERE number = 2 AND cast(:case AS uuid) IS NOT NULL",
    "the kept hash of level 8, 0 has no leaves": """INSERT INTO seal_node
        SELECT 8, 0, '' WHERE cast(:case AS uuid) IS NOT NULL""",
}  # fmt: skip


def test_what_was_not_touched_fits(ids: list[UUID]) -> None:
    with transaction() as session:
        assert list(queries.findings(session, kept())) == []


def test_every_damage_is_named(committed: Database, ids: list[UUID]) -> None:
    name = reference(ids[0])
    for words, statement in DAMAGE.items():
        with tampering(committed) as session:
            assert session.execute(text(statement), {"case": ids[0]}).rowcount > 0, statement  # type: ignore[attr-defined]
            found = first(session)
            assert found is not None, words
            assert found.startswith(words.format(name).strip()), found


def test_a_case_dropped_with_all_its_rows_is_missed_by_the_log(committed: Database, ids: list[UUID]) -> None:
    with tampering(committed) as session:
        for table, column in (("case_event", "case_id"), ("sla_clock", "case_id"), ("case_file", "id")):
            session.execute(text(f"DELETE FROM {table} WHERE {column} = :case"), {"case": ids[4]})
        assert first(session) == f"case {ids[4]}: event 1 is missing, and was sealed as leaf 4"


def rewrite(session: Session, case_id: UUID, seq: int) -> None:
    """Another history from `seq` on, with every hash, and the case's row, made to fit."""
    rows = session.execute(text("SELECT * FROM case_event WHERE case_id = :case ORDER BY seq"), {"case": case_id})
    head = bytes(32)
    for row in rows.mappings().all():
        event = dict(row) | ({"code": "forged"} if row["seq"] >= seq else {})
        body = canonical(event)
        head = link(head, body)
        session.execute(
            text("UPDATE case_event SET code = :code, body = :body, hash = :hash WHERE case_id = :case AND seq = :seq"),
            {"code": event["code"], "body": body, "hash": head, "case": case_id, "seq": row["seq"]},
        )
        session.execute(
            text("UPDATE seal_leaf SET head = :hash WHERE case_id = :case AND seq = :seq"),
            {"hash": head, "case": case_id, "seq": row["seq"]},
        )
    session.execute(text("UPDATE case_file SET head = :head WHERE id = :case"), {"head": head, "case": case_id})


def reseal(session: Session, seed: bytes) -> None:
    """Every seal anew, over the leaves as they now are."""
    session.expire_all()
    public = rules.public_key(seed)
    session.execute(
        text("INSERT INTO seal_key VALUES (:id, :key, now()) ON CONFLICT DO NOTHING"),
        {"id": rules.key_id(public), "key": public},
    )
    leaves = session.exec(select(SealLeaf).order_by(col(SealLeaf.pos))).all()
    previous = rules.FIRST_PREVIOUS
    for seal in session.exec(select(Seal).order_by(col(Seal.number))).all():
        peaks = rules.Peaks()
        for leaf in leaves[: seal.size]:
            peaks.append(rules.leaf_hash(leaf.case_id, leaf.seq, leaf.head))
        said = replace(queries.statement(seal), root=peaks.root(), previous=previous, key_id=rules.key_id(public))
        seal.root, seal.previous, seal.key_id = said.root, said.previous, said.key_id
        seal.signature = rules.sign(seed, said)
        previous = said.hash()
    session.flush()


def test_a_rewritten_history_is_found_by_seals_and_one_sealed_anew_by_trusted_roots(
    committed: Database, ids: list[UUID]
) -> None:
    own, trusted = b64decode(settings().seal_key), kept()
    with tampering(committed) as session:
        rewrite(session, ids[0], 2)
        assert first(session) == "seal 1: its root does not follow from the leaves"
        reseal(session, own)
        assert first(session) is None, "the key is ours: without trusted roots nothing tells"
        assert first(session, trusted) == "seal 1: root, signature differ from the trusted root"


def test_what_was_rewritten_after_the_last_trusted_root_cannot_be_found(committed: Database, ids: list[UUID]) -> None:
    own, trusted = b64decode(settings().seal_key), kept()
    with tampering(committed) as session:
        rewrite(session, ids[5], 1)  # first sealed in the second night
        reseal(session, own)
        assert first(session, trusted[:1]) is None
        assert first(session, trusted) == "seal 2: root, signature differ from the trusted root"
    with tampering(committed) as session:
        rewrite(session, ids[1], 3)  # not sealed yet
        assert first(session, trusted) is None
    assert rules.what_cannot_be_seen(1, 2) == (
        "Not detectable: what was rewritten since trusted root 1 by somebody who held both the database and the signing"
        " key, and what was rewritten since seal 2 by somebody who held the database."
    )


def test_seals_under_a_foreign_key_are_named(committed: Database, ids: list[UUID]) -> None:
    trusted = kept()
    with tampering(committed) as session:
        session.execute(
            text("UPDATE seal SET signature = :s WHERE number = 2"), {"s": rules.sign(FOREIGN, trusted[1].statement)}
        )
        assert (first(session) or "").startswith("seal 2: the signature is not of key")
    with tampering(committed) as session:
        rewrite(session, ids[5], 1)
        reseal(session, FOREIGN)
        found = list(queries.findings(session, trusted[:1], trusted[0].statement.key_id))
        foreign = rules.key_id(rules.public_key(FOREIGN))
        assert f"seal 2: neither a trusted root nor the configuration names its key {foreign}" in found
        assert "seal 1: previous" not in " ".join(found)
    with tampering(committed) as session:
        session.execute(text("UPDATE seal_key SET public_key = :key"), {"key": rules.public_key(FOREIGN)})
        assert (first(session) or "").startswith(f"key {trusted[0].statement.key_id}: its name is not its hash")


def test_a_missing_seal_that_somebody_kept_is_named(committed: Database, ids: list[UUID]) -> None:
    trusted = kept()
    with tampering(committed) as session:
        session.execute(text("DELETE FROM seal WHERE number = 2"))
        session.execute(text("DELETE FROM seal_leaf WHERE pos >= 5"))
        assert first(session) is None, "as if the second night had not been"
        assert first(session, trusted) == "seal 2 is missing, and is a trusted root"


def test_the_command_compares_with_a_file_kept_elsewhere(committed: Database, ids: list[UUID], tmp_path: Path) -> None:
    run = CliRunner().invoke
    everything = run(cli, ["seals", "export"])
    assert len(everything.output.splitlines()) == 2
    assert run(cli, ["seals", "export", "--since", "2"]).output == everything.output.splitlines()[1] + "\n"
    file = tmp_path / "roots.jsonl"
    file.write_text(everything.output)
    fits = run(cli, ["verify", "--trusted-roots", str(file)])
    assert fits.exit_code == 0, fits.output
    assert "6 cases, 13 events and 2 seals fit" in fits.output
    assert "Not detectable: what was rewritten since trusted root 2" in fits.output
    assert "no trusted root was given" in run(cli, ["verify"]).output
    with transaction() as session:  # the row of a case is no history: the application may change it
        session.execute(text("UPDATE case_file SET version = 9 WHERE id = :case"), {"case": ids[2]})
    broken = run(cli, ["verify", "--trusted-roots", str(file)])
    assert broken.exit_code == 1
    assert broken.output.startswith(f"case {reference(ids[2])}: event 3: the case's row says version 9")
    file.write_text("{}\n")
    assert run(cli, ["verify", "--trusted-roots", str(file)]).exit_code == 2
    assert run(cli, ["verify", "--trusted-roots", str(tmp_path / "none")]).exit_code == 2


# --- from the export alone -------------------------------------------------------------------------------------------


@pytest.fixture
def export(ids: list[UUID], tmp_path: Path) -> Lines:
    asked = ["export", "audit", str(tmp_path / "export.jsonl"), "--purpose", "Thanh tra định kỳ"]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in (tmp_path / "export.jsonl").read_text().splitlines()]


def check(where: Path, lines: Lines, trusted: Sequence[TrustedRoot] = (), *more: str) -> tuple[int, str]:
    """The verifier alone, copied out of the repository, on these lines."""
    where.mkdir(exist_ok=True)
    (where / "verify.py").write_text(VERIFIER.read_text())
    (where / "export").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (where / "roots").write_text("".join(root.line() + "\n" for root in trusted))
    roots = ["--trusted-roots", "roots"] if trusted else []
    argv = [sys.executable, "-I", "verify.py", "export", *roots, *more]
    done = subprocess.run(argv, cwd=where, capture_output=True, text=True, check=False, timeout=60)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def of(lines: Lines, kind: str) -> Lines:
    return [line for line in lines if line["type"] == kind]


def test_a_clean_export_verifies_without_us(export: Lines, tmp_path: Path) -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(VERIFIER.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    assert imported <= sys.stdlib_module_names | {"cryptography"}
    status, said = check(tmp_path / "v", export, kept())
    assert status == 0, said
    assert said.startswith("13 events, 8 leaves and 2 seals fit\n")
    assert "Not detectable: what was rewritten since trusted root 2" in said
    status, said = check(tmp_path / "v", export)
    assert status == 0
    assert "no trusted root was given" in said


def test_the_export_is_pseudonymous_private_and_says_what_for(export: Lines, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))
    assert "Hố ga" not in file.read_text()
    with transaction() as session:
        entry = session.exec(select(AuditEntry).where(AuditEntry.topic == "export")).one()
        assert entry.after == {
            "purpose": "Thanh tra định kỳ",
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
    refused = CliRunner().invoke(cli, ["export", "audit", str(tmp_path / "other"), "--purpose", "  "])
    assert refused.exit_code == 2
    assert not (tmp_path / "other").exists()


def rechained(lines: Lines, case_id: UUID, seq: int) -> None:
    """The history of a case rewritten from `seq` on, with all hashes and leaves made to fit."""
    head, leaves = bytes(32), of(lines, "leaf")
    for event in of(lines, "event"):
        if event["case_id"] != str(case_id):
            continue
        if event["seq"] >= seq:
            event["body"] = event["body"].replace('"channel":"app"', '"channel":"web"')
        head = link(head, event["body"].encode())
        event["hash"] = head.hex()
        if "leaf" in event:
            leaves[event["leaf"]]["head"] = head.hex()


def resealed(lines: Lines, seed: bytes) -> None:
    """Every seal signed anew over the leaves as they are."""
    key, leaves, previous = rules.public_key(seed), of(lines, "leaf"), rules.FIRST_PREVIOUS
    for line in of(lines, "key"):
        line |= {"id": rules.key_id(key), "public_key": key.hex()}
    for seal in of(lines, "seal"):
        peaks = rules.Peaks()
        for leaf in leaves[: seal["size"]]:
            peaks.append(rules.leaf_hash(UUID(leaf["case_id"]), leaf["seq"], bytes.fromhex(leaf["head"])))
        seal |= {"root": peaks.root().hex(), "previous": previous.hex(), "key_id": rules.key_id(key)}
        told = {name: value for name, value in seal.items() if name != "type"}
        said = TrustedRoot.read(json.dumps(told)).statement
        seal["signature"], previous = rules.sign(seed, said).hex(), said.hash()


def event(lines: Lines, seq: int) -> dict[str, Any]:
    """One event of case 0, whose events come first."""
    return of(lines, "event")[seq - 1]


def body_changed(lines: Lines, _case: UUID) -> None:
    event(lines, 2)["body"] = event(lines, 2)["body"].replace("app", "web")


def event_removed(lines: Lines, _case: UUID) -> None:
    lines.remove(event(lines, 3))


def events_reordered(lines: Lines, _case: UUID) -> None:
    one, other = (lines.index(event(lines, seq)) for seq in (2, 3))
    lines[one], lines[other] = lines[other], lines[one]


def cases_mixed(lines: Lines, _case: UUID) -> None:
    lines.insert(-1, lines.pop(lines.index(event(lines, 4))))


def events_swapped_between_cases(lines: Lines, _case: UUID) -> None:
    one, other = event(lines, 1), event(lines, 5)
    assert one["case_id"] != other["case_id"]
    one["body"], other["body"], one["hash"], other["hash"] = other["body"], one["body"], other["hash"], one["hash"]


def head_replaced(lines: Lines, _case: UUID) -> None:
    of(lines, "leaf")[0]["head"] = "00" * 32


def root_forged(lines: Lines, _case: UUID) -> None:
    of(lines, "seal")[0]["root"] = "00" * 32


def seal_back_dated(lines: Lines, _case: UUID) -> None:
    of(lines, "seal")[0]["at"] = "2026-11-20T17:05:00.000000+00:00"


def signature_of_another(lines: Lines, _case: UUID) -> None:
    of(lines, "seal")[0]["signature"] = of(lines, "seal")[1]["signature"]


def history_rewritten(lines: Lines, case_id: UUID) -> None:
    rechained(lines, case_id, 2)


def history_rewritten_beside_the_log(lines: Lines, case_id: UUID) -> None:
    leaves = json.loads(json.dumps(of(lines, "leaf")))
    rechained(lines, case_id, 2)
    start = lines.index(of(lines, "leaf")[0])
    lines[start : start + len(leaves)] = leaves


def history_rewritten_and_sealed_anew(lines: Lines, case_id: UUID) -> None:
    rechained(lines, case_id, 2)
    resealed(lines, b64decode(settings().seal_key))


def case_dropped(lines: Lines, case_id: UUID) -> None:
    lines[:] = [line for line in lines if line["type"] != "event" or line["case_id"] != str(case_id)]


def leaf_dropped(lines: Lines, _case: UUID) -> None:
    lines.remove(of(lines, "leaf")[0])


def seal_dropped(lines: Lines, _case: UUID) -> None:
    lines.remove(of(lines, "seal")[0])


def last_night_dropped(lines: Lines, _case: UUID) -> None:
    size = of(lines, "seal")[0]["size"]
    lines.remove(of(lines, "seal")[1])
    lines[:] = [line for line in lines if line["type"] != "leaf" or line["index"] < size]
    for line in of(lines, "event"):
        if line.get("leaf", 0) >= size:
            del line["leaf"]
    lines[-1]["leaves"] = size


def cut_off(lines: Lines, _case: UUID) -> None:
    del lines[-1]


def goes_on(lines: Lines, _case: UUID) -> None:
    lines.append(lines[-1])


def counts_changed(lines: Lines, _case: UUID) -> None:
    lines[-1]["events"] += 1


def malformed(lines: Lines, _case: UUID) -> None:
    of(lines, "leaf")[0]["case_id"] = 7


def sealed_by_a_stranger(lines: Lines, _case: UUID) -> None:
    resealed(lines, FOREIGN)


@pytest.mark.parametrize(
    "trusting", [pytest.param(False, id="without trusted roots"), pytest.param(True, id="with trusted roots")]
)
def test_every_tampering_with_an_export_is_named(
    export: Lines, ids: list[UUID], tmp_path: Path, trusting: bool
) -> None:
    case, trusted = f"case {ids[0]}", kept()
    named: dict[Callable[[Lines, UUID], None], str] = {
        body_changed: f"{case}: event 2: its hash does not follow",
        event_removed: f"{case}: event 3 is missing",
        events_reordered: f"{case}: event 2 is missing",
        cases_mixed: f"{case}: its events do not stand together",
        events_swapped_between_cases: f"{case}: event 1: its body is of another",
        head_replaced: "seal 1: its root is not that of the leaves",
        seal_dropped: "seal 1 is missing",
        history_rewritten: "seal 1: its root is not that of the leaves",
        history_rewritten_beside_the_log: f"{case}: event 2: its hash is not the head that was sealed as leaf 0",
        case_dropped: f"{case}: event 2 is missing, and was sealed as leaf 0",
        leaf_dropped: "leaf 0 is missing",
        cut_off: "the export has no end",
        goes_on: "the export goes on after its end",
        counts_changed: "the export's end counts other lines",
        malformed: "a line of type leaf is malformed",
    }
    named |= (
        {
            root_forged: "seal 1: root differs from the trusted root",
            seal_back_dated: "seal 1: at differs from the trusted root",
            signature_of_another: "seal 1: signature differs from the trusted root",
            history_rewritten_and_sealed_anew: "seal 1: root differs from the trusted root",
            sealed_by_a_stranger: "seal 1: key_id differs from the trusted root",
            last_night_dropped: "seal 2 is missing, and is a trusted root",
        }
        if trusting
        else {
            root_forged: "seal 1: the signature is not of key",
            seal_back_dated: "seal 1: the signature is not of key",
            signature_of_another: "seal 1: the signature is not of key",
        }
    )
    for tamper, expected in named.items():
        lines: Lines = json.loads(json.dumps(export))
        tamper(lines, ids[0])
        status, said = check(tmp_path / "v", lines, trusted if trusting else ())
        assert (status, said.startswith(expected)) == (1, True), (tamper, said)


def test_what_an_export_cannot_tell_is_said(export: Lines, ids: list[UUID], tmp_path: Path) -> None:
    """Rewritten after the last exported root with the key, or not sealed at all: nothing tells, and it is said."""
    own, trusted = b64decode(settings().seal_key), kept()
    sealed_late: Lines = json.loads(json.dumps(export))
    rechained(sealed_late, ids[5], 1)
    resealed(sealed_late, own)
    assert sealed_late != export
    status, said = check(tmp_path / "v", sealed_late, trusted[:1])
    assert status == 0
    assert "Not detectable: what was rewritten since trusted root 1" in said
    status, said = check(tmp_path / "v", sealed_late, trusted)
    assert (status, said) == (1, "seal 2: root differs from the trusted root\n")
    never_sealed: Lines = json.loads(json.dumps(export))
    rechained(never_sealed, ids[1], 3)
    assert never_sealed != export
    status, said = check(tmp_path / "v", never_sealed, trusted)
    assert status == 0
    assert "since seal 2 by somebody who held the database" in said


def test_a_changed_key_is_accepted_by_who_asked(export: Lines, tmp_path: Path) -> None:
    """After the last trusted root a new key may be right or not; only another channel tells."""
    trusted, new = kept()[:1], rules.public_key(FOREIGN)
    key = {"type": "key", "id": rules.key_id(new), "public_key": new.hex()}
    seal = of(export, "seal")[1]
    seal["key_id"] = key["id"]
    said = TrustedRoot.read(json.dumps({name: value for name, value in seal.items() if name != "type"})).statement
    seal["signature"] = rules.sign(FOREIGN, said).hex()
    export.insert(1, key)
    status, told = check(tmp_path / "v", export, trusted)
    assert status == 1
    assert told.startswith(f"seal 2: no trusted root names its key {key['id']}")
    assert check(tmp_path / "v", export, trusted, "--key", key["id"])[0] == 0


def test_an_empty_province_verifies_too(committed: Database, tmp_path: Path) -> None:
    submitted(0)
    night(1)
    done = CliRunner().invoke(cli, ["export", "audit", str(tmp_path / "export.jsonl"), "--purpose", "thử"])
    assert done.exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "export.jsonl").read_text().splitlines()]
    status, said = check(tmp_path / "v", lines, kept())
    assert status == 0
    assert said.startswith("0 events, 0 leaves and 1 seals fit")
