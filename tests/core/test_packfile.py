from datetime import date
from pathlib import Path

import pytest
from pydantic import Field

from app.core.packfile import MAX_BYTES, Finding, PackError, PackModel, read_with_source, read_yaml


class Item(PackModel):
    name: str
    size: int = 0
    day: date | None = None


class Items(PackModel):
    items: list[Item] = Field(min_length=1)


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "items.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def findings(tmp_path: Path, text: str | bytes) -> list[Finding]:
    with pytest.raises(PackError) as caught:
        read_yaml(written(tmp_path, text), Items)
    return caught.value.findings


def test_words_that_yaml_would_turn_into_something_else_stay_words(tmp_path: Path) -> None:
    text = "items:\n" + "".join(
        f"  - {{name: {word}}}\n"
        for word in ("off", "no", "YES", "07:30", "2025-07-01", "0x1F", "1_000", "05443", ".5")
    )
    read = read_yaml(written(tmp_path, text), Items)
    assert [item.name for item in read.items] == [
        "off", "no", "YES", "07:30", "2025-07-01", "0x1F", "1_000", "05443", ".5",
    ]  # fmt: skip


def test_values_are_read_by_the_schema_and_never_converted(tmp_path: Path) -> None:
    read = read_yaml(written(tmp_path, "items: [{name: a, size: -3, day: 2025-07-01}]"), Items)
    assert read.items[0] == Item(name="a", size=-3, day=date(2025, 7, 1))
    (finding,) = findings(tmp_path, 'items: [{name: a, size: "3"}]')
    assert finding.where == "items[1].size, line 1"
    assert finding.message == 'Input should be a valid integer, not "3".'
    (finding,) = findings(tmp_path, "items: [{name: 3}]")
    assert finding.message == "Input should be a valid string, not 3."


def test_text_is_composed_whatever_the_editor_wrote(tmp_path: Path) -> None:
    read = read_yaml(written(tmp_path, "items: [{name: O\u0302\u0309 ga\u0300}]"), Items)
    assert read.items[0].name == "Ổ gà"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("", "", "The file is empty."),
        ("# only a remark\n", "", "The file is empty."),
        ("items: []\n", "items, line 1", "The list is empty; nothing is removed by an empty list."),
        ("items:\n", "items, line 1", "Input should be a valid array, not null."),
        ("items:\n  - size: 1\n", "items[1].name, line 2", "This key is missing."),
        ("items:\n  - name: a\n    nmae: b\n", "items[1].nmae, line 3", "This key is not known."),
        ("items:\n  - name: a\n    name: b\n", "items[1].name, line 3", "The key 'name' stands here a second time."),
        ("items: &all []\nmore: *all\n", "more, line 2", "An alias (*name) is used; write the value out."),
        ("items: [{name: !!python/name:os.system x}]", "items[1].name, line 1", "a type that is not used here"),
        ("items: [{name: !!timestamp 2025-07-01}]", "items[1].name, line 1", "a type that is not used here"),
        ("items:\n  - [name, a\n", "line 3", "The file cannot be read as YAML"),
        ("items: [{name: a}]\n---\nitems: [{name: b}]\n", "line 2", "another document"),
        ("items: [{name: a,\n  day: 2025-02-30}]", "items[1].day, line 2", "valid date"),
        ("items: [{name: a}]\nx: \x07\n", "line 2", "A control character stands here."),
        (b"items: [{name: \xff}]", "byte 15", "The file is not UTF-8 text."),
        ("[1, 2]", "line 1", "Input should be an object, not [1, 2]."),
        ("? [a, b]\n: c\n", "line 1", "A key must be a plain word."),
        ("#" * (MAX_BYTES + 1), "", "The file is larger than"),
    ],
)
def test_each_mistake_is_named_with_its_place_and_a_sentence(
    tmp_path: Path, text: str | bytes, where: str, message: str
) -> None:
    (finding,) = findings(tmp_path, text)
    assert (finding.file, finding.where) == ("items.yaml", where)
    assert message in finding.message
    assert finding.message.endswith(".")


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    found = findings(tmp_path, "items:\n  - {name: 1, size: a}\n  - {nmae: b}\nmore: 1\n")
    assert [finding.where for finding in found] == [
        "items[1].name, line 2",
        "items[1].size, line 2",
        "items[2].name, line 3",
        "items[2].nmae, line 3",
        "more, line 4",
    ]


def test_a_missing_file_and_a_directory_are_sentences_too(tmp_path: Path) -> None:
    for path, sentence in ((tmp_path / "none.yaml", "The file is missing."), (tmp_path, "The file cannot be read")):
        with pytest.raises(PackError, match=sentence):
            read_yaml(path, Items)


def test_checks_across_keys_can_name_places(tmp_path: Path) -> None:
    _, source = read_with_source(written(tmp_path, "items:\n  - name: a\n  - name: b\n"), Items)
    assert source.where("items", 1, "name") == "items[2].name, line 3"
    assert source.where("items", 1, "size") == "items[2].size, line 3"
    assert str(source.finding("No.", "items", 0)) == "items.yaml: items[1], line 2: No."
