"""Validated reading of YAML files that people edit: every mistake with its file, line, key path and a sentence.

YAML without its traps: `off`, `no` and `07:30` are text, dates are read by the schema, a repeated key, an anchor and
an alias are refused. Values are never converted (`"5"` is no number), unknown keys are the schema's business
(`PackModel` forbids them).
"""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from app.core.text import clean

T = TypeVar("T", bound=BaseModel)
MAX_BYTES = 4 * 1024 * 1024

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake: the file's name, where in it (`policies[3].days, line 41`), and a sentence."""

    file: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.where}: {self.message}" if self.where else f"{self.file}: {self.message}"


class PackError(Exception):
    """Files that may not be used, with everything that was found wrong in them."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = list(dict.fromkeys(findings))
        super().__init__("\n".join(str(finding) for finding in self.findings))


class PackModel(BaseModel):
    """The base of every file schema: nothing unknown, nothing changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source:
    """A file that was read: `where` gives the place of a key path, for findings of checks across keys."""

    def __init__(self, file: str, lines: dict[_Path, int]) -> None:
        self.file = file
        self._lines = lines

    def where(self, *path: str | int) -> str:
        """`categories[3].level, line 42` for a key path; the line is that of the nearest key that exists."""
        known: _Path = path
        while known and known not in self._lines:
            known = known[:-1]
        line = self._lines.get(known)
        name = _spelled(path)
        return ", ".join(part for part in (name, f"line {line}" if line else "") if part)

    def finding(self, message: str, *path: str | int) -> Finding:
        """A finding at a key path of this file."""
        return Finding(self.file, self.where(*path), message)


def read_yaml(path: Path, schema: type[T]) -> T:
    """The file as `schema`; PackError names everything that is wrong in it."""
    return read_with_source(path, schema)[0]


def read_with_source(path: Path, schema: type[T]) -> tuple[T, Source]:
    """The file as `schema`, and the places of its keys for further checks."""
    data, source = _plain(path)
    try:
        return schema.model_validate_json(json.dumps(data), strict=True), source
    except ValidationError as error:
        raise PackError(_finding(source, item) for item in error.errors(include_url=False)) from error


class _Loader(yaml.SafeLoader):
    """Only `true`, `false`, `null`, decimal integers and decimals are more than text (YAML 1.2 core, less octal)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as in PyYAML


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?$"), list("-+0123456789")
)


def _plain(path: Path) -> tuple[object, Source]:
    """The file's plain data and the line of each key path."""
    file = path.name
    try:
        node = _Loader(_text(path)).get_single_node()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
        reason = error.problem or "it is not YAML"
        raise PackError([Finding(file, line, f"The file cannot be read as YAML: {reason}.")]) from error
    if node is None:
        raise PackError([Finding(file, "", "The file is empty.")])
    reader = _Reader(file)
    data = reader.value(node, ())
    if reader.findings:
        raise PackError(reader.findings)
    return data, Source(file, reader.lines)


def _text(path: Path) -> str:
    """The file's text, or the reason why there is none."""
    file = path.name
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PackError([Finding(file, "", f"The file is larger than {MAX_BYTES} bytes.")])
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise PackError([Finding(file, "", "The file is missing.")]) from None
    except OSError as error:
        raise PackError([Finding(file, "", f"The file cannot be read: {error.strerror}.")]) from error
    except UnicodeDecodeError as error:
        raise PackError([Finding(file, f"byte {error.start}", "The file is not UTF-8 text.")]) from error
    if control := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise PackError([Finding(file, f"line {line}", "A control character stands here.")])
    return text


class _Reader:
    """Turns nodes into plain data while noting lines and what PyYAML would silently accept."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[_Path, int] = {}
        self.findings: list[Finding] = []
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, path: _Path) -> object:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self._seen:
            self._refuse(path, "An alias (*name) is used; write the value out.")
            return None
        self._seen.add(id(node))
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
            case _:
                return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: _Path) -> dict[str, object]:
        result: dict[str, object] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(path, "A key must be a plain word.")
                continue
            name = str(key.value)
            below = (*path, name)
            if name in result:
                self.lines[below] = key.start_mark.line + 1
                self._refuse(below, f"The key {name!r} stands here a second time.")
                continue
            self.lines[below] = key.start_mark.line + 1
            result[name] = self.value(item, below)
        return result

    def _scalar(self, node: yaml.Node, path: _Path) -> object:
        text = str(node.value)
        match node.tag.rpartition(":")[2]:
            case "null":
                return None
            case "bool":
                return text == "true"
            case "int":
                return int(text)
            case "float" if math.isfinite(float(text)):
                return float(text)
            case "str":
                return clean(text)
            case _:
                self._refuse(path, f"The value {text[:40]!r} has a type that is not used here.")
                return None

    def _refuse(self, path: _Path, message: str) -> None:
        self.findings.append(Source(self.file, self.lines).finding(message, *path))


def _finding(source: Source, item: ErrorDetails) -> Finding:
    """One pydantic finding in a sentence."""
    match item["type"]:
        case "missing":
            message = "This key is missing."
        case "extra_forbidden":
            message = "This key is not known."
        case "too_short" if item["ctx"].get("actual_length") == 0:
            message = "The list is empty; nothing is removed by an empty list."
        case "value_error":
            message = _sentence(str(item["ctx"]["error"]))
        case _:
            message = f"{_sentence(item['msg'])[:-1]}, not {_short(item['input'])}."
    return source.finding(message, *item["loc"])


def _sentence(text: str) -> str:
    text = text.strip().removesuffix(".")
    return f"{text[:1].upper()}{text[1:]}."


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"  # noqa: PLR2004 - a line of a terminal


def _spelled(path: _Path) -> str:
    """`policies[3].days` for ("policies", 3, "days"); places count from 1, as people do."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
