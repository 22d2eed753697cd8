"""Operator commands: `phananh …`, or `python -m app.cli …`."""

import csv
import hashlib
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, NoReturn
from uuid import UUID

import typer
import yaml
from alembic import command
from alembic.config import Config

from app import processes
from app.assets import actions as assets_actions
from app.boundaries.queries import boundaries_in_force
from app.boundaries.rules import PointIndex
from app.boundaries.schemas import check_source, read_source
from app.catalog import actions as catalog
from app.catalog.schemas import CategoriesFile, GroupsFile, ProvinceFile
from app.core import clock
from app.core.config import ROOT, settings
from app.core.db import Session, transaction
from app.core.download import ONCE, PATIENT
from app.core.errors import DomainError
from app.core.models import ConfigVersion
from app.core.packfile import Finding, PackError, read_with_source, read_yaml
from app.core.remarks import DeliveryError, Remark, named, refusal
from app.core.versioned import bump
from app.deadlines import actions as deadlines
from app.deadlines.models import EVERYONE
from app.newpack import new_pack
from app.orgunits import actions as orgunits
from app.orgunits.schemas import UnitPack, read_units
from app.reforms import actions as reforms
from app.reforms.queries import Shown, listed, one
from app.reforms.rules import FINDINGS
from app.reforms.schemas import PlanIn
from app.routing import actions as routing
from app.routing import queries as routed
from app.routing.queries import cases_that_move
from app.routing.schemas import ChangeOut, EndIn, RuleIn
from app.seals import queries as sealed
from app.seals import rules as sealing
from app.seals.actions import export_audit
from app.surveys import actions as areas
from app.surveys.actions import make_approximate
from app.surveys.rules import Difference
from app.timetables import actions as timetables
from app.timetables.schemas import FINDINGS as TIME_FINDINGS
from app.timetables.schemas import DayIn, TimeChangeIn

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="phananh: phản ánh của người dân.")
pack = typer.Typer(no_args_is_help=True, help="The province pack: units, categories, policies, calendar.")
boundaries = typer.Typer(no_args_is_help=True, help="Commune boundaries, version by version.")
demo = typer.Typer(no_args_is_help=True, help="Demo data for a laptop.")
units = typer.Typer(no_args_is_help=True, help="Changes of units that are planned for a day.")
cli.add_typer(pack, name="pack")
cli.add_typer(units, name="units")
cli.add_typer(demo, name="demo")
cli.add_typer(boundaries, name="boundaries")
assets = typer.Typer(no_args_is_help=True, help="Roads, lamps, manholes and who looks after them.")
cli.add_typer(assets, name="assets")
deadlines_cli = typer.Typer(no_args_is_help=True, help="The working calendar, deadlines, and what moves by them.")
cli.add_typer(deadlines_cli, name="deadlines")
seals = typer.Typer(no_args_is_help=True, help="The nightly signed roots over all case histories.")
export = typer.Typer(no_args_is_help=True, help="What leaves the house, with its purpose.")
rules_cli = typer.Typer(no_args_is_help=True, help="Who answers for which kind of report, where.")
cli.add_typer(rules_cli, name="rules")
cli.add_typer(seals, name="seals")
cli.add_typer(export, name="export")

PackDir = Annotated[Path | None, typer.Argument(help="A province pack; the configured one by default.")]


def alembic_config() -> Config:
    """Alembic as pyproject.toml configures it, from any working directory."""
    config = Config(toml_file=ROOT / "pyproject.toml")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return config


def load_pack(session: Session, where: Path) -> Iterator[str]:
    """Load every section of a pack in its order; yields a line for each."""
    yield f"units: {orgunits.load_units(session, where)}"
    yield f"catalogue: {catalog.load_catalog(session, where)}"
    yield f"asset classes: {assets_actions.load_classes(session, where)} changed"
    yield f"calendar: {len(deadlines.load_calendar(session, where).entered)} entered"
    yield f"policies: {len(deadlines.load_policies(session, where).entered)} entered"
    yield f"routing rules: {routing.load_rules(session, where)} entered"
    yield f"boundaries: {make_approximate(session, where)}"


def digest(where: Path) -> str:
    """A name for the content of a pack: SHA-256 over its files and their places."""
    content = hashlib.sha256()
    for file in sorted(where.rglob("*.yaml")):
        content.update(str(file.relative_to(where)).encode() + b"\x00" + hashlib.sha256(file.read_bytes()).digest())
    return content.hexdigest()


def check_pack(where: Path) -> list[Finding]:
    """Every mistake in every section of a pack."""
    try:
        known, codes = read_units(where), routing_codes(where)
    except PackError as error:
        return error.findings
    places = {unit.code: unit.name for unit in (known.province, *known.communes.communes)}
    return [
        *_check_box(where, known),
        *check_source(where, places),
        *catalog.check_catalog(where, set(codes.units)),
        *assets_actions.check_classes(where, codes.categories),
        *deadlines.check_pack(where, codes.categories),
        *routing.check_rules(where, codes),
    ]


def _check_box(where: Path, known: UnitPack) -> Iterator[Finding]:
    """The outer box of province.yaml holds the centres of all communes: it is copied from another province at first."""
    try:
        file, source = read_with_source(where / "province.yaml", ProvinceFile)
    except PackError:
        return  # the catalogue names what is wrong
    box = file.province.bounds
    outside = [
        each.code
        for each in known.former.communes
        if not (box.west <= each.lon <= box.east and box.south <= each.lat <= box.north)
    ]
    if outside:
        told = ", ".join(outside[:5]) + (" …" if len(outside) > 5 else "")  # noqa: PLR2004 - enough to see which
        yield source.finding(
            f"Khung này không chứa tâm của {len(outside)} xã trong units/former.yaml ({told}). / "
            f"This box misses the centres of {len(outside)} communes of units/former.yaml ({told}).",
            "province",
            "bounds",
        )


def routing_codes(where: Path) -> routing.Known:
    """The codes of a pack that its routing rules may name."""
    units = read_units(where)
    communes = {unit.code for unit in units.communes.communes}
    return routing.Known(
        {each.code: each.group for each in read_yaml(where / "categories.yaml", CategoriesFile).categories},
        {group.code for group in read_yaml(where / "groups.yaml", GroupsFile).groups},
        communes | {unit.code for unit in units.agencies.agencies},
        communes,
    )


@cli.command()
def run(
    port: Annotated[int, typer.Option(help="Port of the HTTP server on 127.0.0.1.")] = 8000,
    demo: Annotated[bool, typer.Option(help="Live through half a year of demo reports on the first start.")] = True,
) -> None:
    """Start everything on this machine: database, broker, API, relay, workers, scheduler, demo data."""
    sys.exit(processes.run(port=port, demo=demo))


@cli.command()
def migrate() -> None:
    """Bring the database to the newest tables (needs OWNER_DATABASE_URL)."""
    command.upgrade(alembic_config(), "head")
    typer.echo("migrated")


@cli.command()
def prepare() -> None:
    """Migrate, then load the configured pack where it is new: what every start on one machine begins with."""
    migrate()
    pack_load()


@cli.command()
def api(host: str = "127.0.0.1", port: Annotated[int, typer.Option(envvar="PORT")] = 8000) -> None:
    """Serve HTTP in one process."""
    processes.become(processes.api_argv("--host", host, "--port", str(port)))


@cli.command()
def openapi() -> None:
    """Print the contract with mobile apps, as the server serves it."""
    from app.main import app  # noqa: PLC0415 - the application is not needed by any other command

    typer.echo(yaml.safe_dump(app.openapi(), allow_unicode=True, sort_keys=False, width=120), nl=False)


@cli.command()
def relay() -> None:
    """Ring Celery for what is owed."""
    processes.become(processes.relay_argv())


@cli.command()
def worker(
    kind: Annotated[str, typer.Argument(help=" or ".join(processes.WORKERS))] = "routing",
    children: Annotated[int | None, typer.Option(help="How many tasks at a time.", min=1)] = None,
) -> None:
    """Drain what is owed: `routing`, `messages` (also keeps house) or `media` (makes photos)."""
    processes.become(processes.worker_argv(kind, children))


@cli.command()
def scheduler() -> None:
    """Ring for what happens by the clock."""
    processes.become(processes.scheduler_argv(settings().var_dir))


@demo.command("accounts")
def demo_accounts() -> None:
    """Make the demo accounts (a laptop's, never production's) and write them to var/demo.json."""
    processes.become([sys.executable, "-m", "tools.demo", "accounts"])


@pack.command("check")
def pack_check(pack_dir: PackDir = None) -> None:
    """Read a pack strictly and name every mistake with file, line and a sentence."""
    where = pack_dir or settings().province_pack
    findings = check_pack(where)
    for finding in findings:
        typer.echo(str(finding), err=True)
    if findings:
        raise typer.Exit(1)
    for warning in routing.warn_rules(where, routing_codes(where)):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{where.name}: no mistake found")


@pack.command("new")
def pack_new(
    pack_dir: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    name: Annotated[str, typer.Option(help="The official name, such as “Tỉnh Bắc Ninh”.")],
    code: Annotated[str, typer.Option(help="The province's code: two digits.")],
) -> None:
    """Write a first pack for another province, to be filled in as docs/geography.md describes."""
    with _refusals():
        for file in new_pack(pack_dir, name, code):
            typer.echo(str(file))
    typer.echo(
        "Two invented communes stand in units/: replace them (docs/geography.md), then `phananh pack check DIR`."
    )


@pack.command("load")
def pack_load(
    pack_dir: PackDir = None,
    again: Annotated[bool, typer.Option(help="Also where these very files were loaded before.")] = False,
) -> None:
    """Load a pack: units, catalogue, calendar, policies, rules, and approximate boundaries until there are others.

    Files that were loaded before are not loaded again by themselves: what an administrator changed since then stays.
    """
    where = pack_dir or settings().province_pack
    mark = f"pack {digest(where)}"
    try:
        with transaction() as session:
            if session.get(ConfigVersion, mark) and not again:
                typer.echo("unchanged")
                return
            for line in load_pack(session, where):
                typer.echo(line)
            bump(session, mark)
    except PackError as error:
        for finding in error.findings:
            typer.echo(str(finding), err=True)
        raise typer.Exit(1) from error


# --- boundaries ------------------------------------------------------------------------------------------------------

EffectiveDay = Annotated[str | None, typer.Option("--effective", help="First day in force, YYYY-MM-DD.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check, show what would change, and store nothing.")]
AcceptGaps = Annotated[bool, typer.Option(help="Import although communes leave gaps wider than a hairline.")]
_MOVES_SHOWN, _CASES_SHOWN = 40, 10


@boundaries.command("import")
def boundaries_import(  # noqa: PLR0917 - typer passes by name
    path: Annotated[Path, typer.Argument(help="GeoJSON (a file or a folder), Shapefile (.shp, .zip) or GeoPackage.")],
    effective: Annotated[str, typer.Option(help="First day in force, YYYY-MM-DD.")],
    source: Annotated[str, typer.Option(help="Where the file comes from.")],
    licence: Annotated[str, typer.Option(help="Its licence.")] = "",
    note: str = "",
    code_column: Annotated[str, typer.Option(help="The property or column with the communes' codes.")] = "code",
    accept_gaps: AcceptGaps = False,
    dry_run: DryRun = False,
) -> None:
    """Import commune boundaries as a new version beside the old ones; a bad file changes nothing."""
    with _refusals():
        files = areas.Files(path, code_column=code_column)
        labels = {"source": source, "licence": licence, "note": note}
        _import(files, _day(effective), labels, accept_gaps=accept_gaps, dry_run=dry_run)


@boundaries.command("fetch")
def boundaries_fetch(
    effective: EffectiveDay = None,
    accept_gaps: AcceptGaps = False,
    dry_run: DryRun = False,
    once: Annotated[bool, typer.Option("--once", hidden=True, help="As `make run` does, for 20 s at most.")] = False,
) -> None:
    """Download the boundaries that the pack's boundaries.yaml lists, verify every file, and import them.

    What was downloaded before is kept under var/boundaries and continued; nothing unverified is ever read.
    """
    where = settings().province_pack
    folder = settings().var_dir / "boundaries" / where.name
    if once and _are_surveyed():
        return
    with _refusals(_GOING_ON if once else ""):
        source = read_source(where)
        files = areas.fetch_files(source, folder, ONCE if once else PATIENT)
        day = _day(effective) if effective else source.effective
        labels = {"source": source.source, "licence": source.licence}
        _import(files, day, labels, accept_gaps=accept_gaps, dry_run=dry_run)
        if once:
            typer.echo("Đã tải và dùng ranh giới đo đạc / surveyed boundaries were downloaded and are in force.")


@boundaries.command("withdraw")
def boundaries_withdraw(version: Annotated[UUID, typer.Argument(help="The id of a version.")]) -> None:
    """Take boundaries back before their first day; they stay in the list and never count."""
    try:
        with transaction() as session:
            areas.withdraw(session, version, None)
    except DomainError as error:
        _refused(error)
    typer.echo("đã rút / withdrawn")


@boundaries.command("compare")
def boundaries_compare(
    day: Annotated[str | None, typer.Option(help="The day to compare for, YYYY-MM-DD; today by default.")] = None,
) -> None:
    """Print how much of the area the approximate boundaries misplace, held against the surveyed ones in force."""
    with _refusals(), transaction() as session:
        on = _day(day) if day else clock.local_day(clock.now())
        found = areas.compare_approximate(session, on)
        if found is None:
            raise refusal(
                f"ngày {on} chưa có ranh giới đo đạc, hoặc không có ranh giới gần đúng, để so sánh",
                f"on {on} there are no surveyed boundaries, or no approximate ones, to compare",
            )
        share = f"{found.share:.1%}"
        _say(
            Remark(
                f"Ranh giới gần đúng đặt {share} diện tích vào xã khác. Lớn nhất:",
                f"The approximate boundaries put {share} of the area into another commune. The largest:",
            )
        )
        _show_moves(found.difference, found.names)


_GOING_ON = (
    "Chưa tải được ranh giới đo đạc, tiếp tục với ranh giới gần đúng / "
    "surveyed boundaries could not be downloaded, going on with approximate ones"
)


_NOTHING_CHANGED = Remark(
    "Chưa có gì thay đổi. Vui lòng sửa các mục trên rồi chạy lại; docs/geography.md giải thích từng câu.",
    "Nothing was changed. Correct what is listed above and run it again; docs/geography.md explains each sentence.",
)


@contextmanager
def _refusals(instead: str = "") -> Iterator[None]:
    """Tell every fault and end with status 1; or say `instead` with the first fault in one line, and go on."""
    try:
        yield
    except (DeliveryError, PackError, ValueError) as error:
        if instead:
            typer.echo(f"{instead} ({str(error).splitlines()[0][:160]}).")
            return
        if isinstance(error, DeliveryError):
            for fault in (*error.faults, _NOTHING_CHANGED):
                _say(fault, err=True)
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _say(told: Remark, *, err: bool = False) -> None:
    """A sentence in Vietnamese, and under it in English."""
    typer.echo(f"{told.vi}\n    {told.en}", err=err)


def _day(written: str) -> date:
    """The day of an option; refused with the form it needs."""
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise refusal(
            f"{written!r} không phải ngày; hãy viết dạng 2026-07-01 (năm-tháng-ngày)",
            f"{written!r} is no day; write it as 2026-07-01 (year-month-day)",
        ) from None


def _are_surveyed() -> bool:
    with transaction() as session:
        return boundaries_in_force(session, clock.now()).accuracy == "surveyed"


def _import(
    files: areas.Files, day: date, labels: dict[str, str], *, accept_gaps: bool = False, dry_run: bool = False
) -> None:
    """Check, show what changes, and store it with its audit row, in one transaction."""
    with transaction() as session:
        prepared = areas.prepare(session, files, effective_from=day, accept_gaps=accept_gaps)
        for told in (*prepared.fixes, *prepared.remarks, *prepared.skipped):
            _say(told)
        if prepared.difference is not None and not prepared.known:
            share = f"{prepared.difference.share:.1%}"
            _say(
                Remark(
                    f"{share} diện tích đổi xã so với ranh giới đang dùng:",
                    f"{share} of the area changes its commune against the boundaries so far:",
                )
            )
            _show_moves(prepared.difference, prepared.names)
            _show_cases(session, prepared)
        if dry_run:
            _say(Remark("Chạy thử: chưa lưu gì.", "dry run: nothing was stored"))
            return
        typer.echo(str(areas.store(session, prepared, actor_id=None, **labels)))


def _show_moves(found: Difference[UUID], names: Mapping[UUID, str]) -> None:
    for move in found.moves[:_MOVES_SHOWN]:
        typer.echo(f"  {move.km2:10.4f} km²  {_named(move.before, names)} → {_named(move.after, names)}")
    if len(found.moves) > _MOVES_SHOWN:
        rest = found.moves[_MOVES_SHOWN:]
        typer.echo(f"  {sum(move.km2 for move in rest):10.4f} km²  in {len(rest)} smaller moves")


def _named(unit_id: UUID | None, names: Mapping[UUID, str]) -> str:
    return names.get(unit_id, str(unit_id)) if unit_id else "(no commune)"


def _show_cases(session: Session, prepared: areas.Prepared) -> None:
    """Open cases that lie in another commune by the new boundaries; the import itself moves none."""
    before = areas.areas_of(session, prepared.replaces.id) if prepared.replaces else None
    names = prepared.names
    indexes = [PointIndex.build(each, names) if each else None for each in (before, prepared.areas)]
    if indexes[1] is None:
        return
    moved = cases_that_move(session, indexes[0], indexes[1])
    count = sum(map(len, moved.values()))
    _say(
        Remark(
            f"Hồ sơ đang mở có vị trí sẽ thuộc xã khác: {count}",
            f"Open cases whose place lies in another commune then: {count}",
        )
    )
    for (was, becomes), references in sorted(moved.items(), key=lambda item: -len(item[1])):
        more = f" and {len(references) - _CASES_SHOWN} more" if len(references) > _CASES_SHOWN else ""
        shown = ", ".join(references[:_CASES_SHOWN]) + more
        typer.echo(f"  {len(references):6}  {_named(was, names)} → {_named(becomes, names)}: {shown}")


@units.command("plan")
def units_plan(
    path: Annotated[
        Path, typer.Argument(help="A YAML file: effective, decision, note, changes, as POST /v1/unit-changes.")
    ],
) -> None:
    """Enter the changes of units that one decision makes: all, or none with a list of what is wrong."""
    try:
        asked = read_yaml(path, PlanIn)
        with transaction() as session:
            changes = [each.change() for each in asked.changes]
            rows = reforms.plan(
                session,
                changes,
                effective=asked.effective,
                decision=asked.decision,
                note=asked.note,
                actor_id=None,
                lang="en",
            )
            for row in rows:
                typer.echo(f"{row.id}  {row.effective}  {row.kind}")
    except PackError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except DomainError as error:
        _refused(error)


@units.command("list")
def units_list() -> None:
    """Show the changes that are planned, the last planned first."""
    with transaction() as session:
        for change in map(Shown(session, "en").change, listed(session, status="planned", after=None, limit=1000)):
            concerned = ", ".join(f"{unit.part} {unit.code} {unit.name}" for unit in change.units)
            typer.echo(f"{change.id}  {change.effective}  {change.kind}: {concerned}")


@units.command("preview")
def units_preview(change: Annotated[UUID, typer.Argument(help="The id of a change.")]) -> None:
    """Show what a planned change will do, as YAML."""
    try:
        with transaction() as session:
            shown = Shown(session, "en").preview(one(session, change)).model_dump(mode="json")
    except DomainError as error:
        _refused(error)
    typer.echo(yaml.safe_dump(shown, allow_unicode=True, sort_keys=False, width=120), nl=False)


@units.command("cancel")
def units_cancel(change: Annotated[UUID, typer.Argument(help="The id of a change.")]) -> None:
    """Undo a planned change, before its day."""
    try:
        with transaction() as session:
            reforms.cancel(session, change, None)
    except DomainError as error:
        _refused(error)
    typer.echo("cancelled")


@units.command("happen")
def units_happen(
    again: Annotated[bool, typer.Option("--again", help="Also try the cases once more that were given up.")] = False,
) -> None:
    """Do now what the scheduler does every minute: apply what is due, hand over what ended units still hold."""
    if again:
        reforms.try_again()
    reforms.happen()


def _refused(error: DomainError, texts: Mapping[str, tuple[str, str]] = FINDINGS) -> NoReturn:
    """Say what was refused in Vietnamese and in English, finding by finding, and end with 1."""
    params = {name: str(value) for name, value in error.params.items()}
    for title, detail in (error.problem.vi, error.problem.en):
        typer.echo(f"{title}. {detail.format_map(params)}", err=True)
    findings = error.extra.get("errors")
    for each in findings if isinstance(findings, list) else ():
        vi, en = (text.format(**each["params"]) for text in texts[each["code"]])
        _say(named(each["pointer"]).says(vi, en), err=True)
    raise typer.Exit(1) from error


@assets.command("import")
def assets_import(
    path: Annotated[
        Path,
        typer.Argument(help="GeoJSON, Shapefile (.shp, .zip), GeoPackage, or CSV with the columns id, lat and lon."),
    ],
    *,
    asset_class: Annotated[str, typer.Option("--class", help="The class of all assets in the file.")],
    source: Annotated[str, typer.Option(help="Who delivers; the same words at each delivery.")],
    effective: Annotated[str, typer.Option(help="First day in force, YYYY-MM-DD; today by default.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change and store nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also where much of what stands would end.")] = False,
) -> None:
    """Take in all assets of a class that a source knows; those it no longer names end. A bad file changes nothing."""
    with _refusals(), transaction() as session:
        summary = assets_actions.import_assets(
            session,
            path,
            asset_class=asset_class,
            source=source,
            effective_from=_day(effective) if effective else clock.local_day(clock.now()),
            force=force,
            dry_run=dry_run,
        )
        for change in summary.changes if dry_run else ():
            typer.echo(str(change))
        typer.echo(f"{'would be: ' if dry_run else ''}{summary}")


@assets.command("stickers")
def assets_stickers(asset_class: Annotated[str, typer.Option("--class", help="The class to label.")]) -> None:
    """Print code, name and address of every asset of a class as CSV, for whoever prints the QR stickers."""
    rows = csv.writer(sys.stdout)
    rows.writerow(("code", "name", "address"))
    with transaction() as session:
        rows.writerows(assets_actions.sticker_rows(session, asset_class, settings().sticker_address))


DryMove = Annotated[bool, typer.Option("--dry-run", help="Say which running deadlines would move; store nothing.")]


@deadlines_cli.command("enter")
def deadlines_enter(
    path: Annotated[Path, typer.Argument(help="A YAML file: days, weeks, groups, policies, pauses, note.")],
    *,
    dry_run: DryMove = False,
) -> None:
    """Enter what the file says, as POST /v1/time-changes: all, or nothing with a list of what is wrong."""
    with _refusals():
        _enter_change(read_yaml(path, TimeChangeIn), dry_run=dry_run)


@deadlines_cli.command("day")
def deadlines_day(
    day: Annotated[str, typer.Argument(help="YYYY-MM-DD")],
    state: Annotated[str, typer.Argument(help="off, work, half_morning, half_afternoon or normal")],
    *,
    note: Annotated[str, typer.Option(help="Why, as the audit log shall say it.")],
    group: Annotated[str, typer.Option(help="Only for this group of units.")] = EVERYONE,
    dry_run: DryMove = False,
) -> None:
    """Say what one day is: a closure in a storm, a make-up Saturday, half a day."""
    with _refusals():
        entry = DayIn.model_validate({"date": day, "state": state, "note": note, "unit_group": group})
        _enter_change(TimeChangeIn(note=note, days=[entry]), dry_run=dry_run)


def _enter_change(body: TimeChangeIn, *, dry_run: bool) -> None:
    try:
        with transaction() as session:
            told = timetables.enter(session, None, body.model_copy(update={"dry_run": dry_run}), "vi")
    except DomainError as error:
        _refused(error, TIME_FINDINGS)
    for line in told.entered:
        typer.echo(line)
    for move in told.moves:
        old, new = (f"{moment.astimezone(clock.LOCAL):%Y-%m-%d %H:%M}" for moment in (move.due_at, move.new_due_at))
        typer.echo(f"  {move.reference} {move.clock}: {old} → {new}")
    if (rest := told.would_move - len(told.moves)) > 0:
        typer.echo(f"  … {rest}")
    number = told.would_move
    if dry_run:
        _say(
            Remark(
                f"Thử: {number} thời hạn đang chạy sẽ thay đổi; chưa lưu gì.",
                f"Dry run: {number} running deadlines would move; nothing was stored.",
            )
        )
        return
    _say(
        Remark(
            f"Đã lưu. {number} thời hạn đang chạy sẽ được tính lại trong khoảng một phút.",
            f"Stored. {number} running deadlines are to move, within about a minute.",
        )
    )


@deadlines_cli.command("recompute")
def deadlines_recompute() -> None:
    """Move now what entered changes owe a move; the scheduler does the same every half minute."""
    number = timetables.recompute_owed()
    _say(Remark(f"Đã tính lại {number} thời hạn.", f"{number} running deadlines moved."))


DryRule = Annotated[bool, typer.Option("--dry-run", help="Say which reports would have gone elsewhere; store nothing.")]


@rules_cli.command("list")
def rules_list(
    on: Annotated[str | None, typer.Option(help="Those in force on this day, YYYY-MM-DD; all by default.")] = None,
) -> None:
    """Print the routing rules, the newest first: id, first and last day, what the rule says."""
    with _refusals(), transaction() as session:
        day, say, cursor = _day(on) if on else None, routed.words(session, "vi"), None
        while True:
            page, cursor = routed.rules_page(
                session, category=None, group=None, unit_id=None, on=day, cursor=cursor, limit=200
            )
            for rule, row in page:
                typer.echo(
                    f"{rule.id}  {rule.valid_from} … {rule.valid_to or ''}  {routed.rule_out(rule, row, say).text}"
                )
            if cursor is None:
                return


@rules_cli.command("enter")
def rules_enter(
    path: Annotated[Path, typer.Argument(help="A YAML file: what POST /v1/routing/rules takes.")],
    *,
    dry_run: DryRule = False,
) -> None:
    """Enter a rule; one that conflicts with another is refused with both named."""
    with _refusals():
        body = read_yaml(path, RuleIn).model_copy(update={"dry_run": dry_run})
        _change_rule(lambda session: routing.enter_rule(session, None, body, "vi"))


@rules_cli.command("end")
def rules_end(
    rule: Annotated[UUID, typer.Argument(help="The id of a rule.")],
    *,
    on: Annotated[str, typer.Option(help="The first day it no longer holds, YYYY-MM-DD.")],
    reason: Annotated[str, typer.Option(help="Why, as the audit log shall say it.")],
    dry_run: DryRule = False,
) -> None:
    """Let a rule hold no longer from a day on."""
    with _refusals():
        body = EndIn(on=_day(on), reason=reason, dry_run=dry_run)
        _change_rule(lambda session: routing.end_rule(session, None, rule, body, "vi"))


def _change_rule(change: Callable[[Session], ChangeOut]) -> None:
    try:
        with transaction() as session:
            told = change(session)
    except DomainError as error:
        found = error.extra.get("findings")
        for each in found if isinstance(found, list) else ():
            typer.echo(each["text"], err=True)
        _refused(error)
    typer.echo(f"{told.rule.id}  {told.rule.text}")
    for finding in told.findings:
        typer.echo(f"  {finding.text}")
    moved, of = told.replay.would_move, told.replay.considered
    typer.echo(f"  {moved}/{of} phản ánh gần đây sẽ đến nơi khác / recent reports would have gone elsewhere")
    if not told.stored:
        _say(Remark("Thử: chưa lưu gì.", "Dry run: nothing was stored."))


@seals.command("export")
def seals_export(since: Annotated[int, typer.Option(help="The first seal wanted.", min=1)] = 1) -> None:
    """Print a trusted-roots file, a line of JSON for each seal: to be kept where this host cannot write."""
    with transaction() as session:
        for root in sealed.since(session, since):
            typer.echo(root.line())


@export.command("audit")
def export_for_audit(
    path: Annotated[Path, typer.Argument(help="The file to write (JSON lines).")],
    purpose: Annotated[str, typer.Option(help="What for; it is written into the audit log.")],
) -> None:
    """Write all pseudonymous events, the log of seals and the public keys: `tools/verify_export.py` checks them."""
    if not purpose.strip():
        typer.echo("an export needs a purpose", err=True)
        raise typer.Exit(2)
    with transaction() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        typer.echo(f"{path}: SHA-256 {export_audit(session, path, purpose.strip())}")


@cli.command()
def verify(
    trusted_roots: Annotated[
        Path | None, typer.Option(help="What `phananh seals export` printed, kept elsewhere.")
    ] = None,
) -> None:
    """Recompute every chain, root and signature; name the first row that does not fit and end with 1."""
    try:
        trusted = _trusted_roots(trusted_roots) if trusted_roots else []
    except (OSError, ValueError) as error:
        typer.echo(f"{trusted_roots}: {error}", err=True)
        raise typer.Exit(2) from error
    own_key = sealing.key_id(sealing.public_key(b64decode(settings().seal_key)))
    with transaction() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        fault = next(sealed.findings(session, trusted, own_key), None)
        cases, events, number = sealed.counts(session)
    typer.echo(fault or f"{cases} cases, {events} events and {number} seals fit")
    last = max((root.statement.number for root in trusted), default=0)
    typer.echo(sealing.what_cannot_be_seen(last, number))
    if fault:
        raise typer.Exit(1)


def _trusted_roots(path: Path) -> list[sealing.TrustedRoot]:
    return [sealing.TrustedRoot.read(line) for line in path.read_text().splitlines() if line.strip()]


def main() -> None:
    """The entry point of `phananh`: a command beside a running system uses that one's servers."""
    if sys.argv[1:2] != ["run"]:
        processes.join_running()
    cli()


if __name__ == "__main__":
    main()
