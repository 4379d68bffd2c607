"""docs/architecture.md describes the house as it is built."""

from __future__ import annotations

import re

from modelzoo.registry.components import CORE
from tests.plugin_site import ROOT
from tests.test_imports import FLOORS

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
_PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.(?:py|md|toml))`")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_path_leads_to_a_file_or_a_folder():
    paths = _PATH.findall(PAGE)
    assert len(paths) > 80
    roots = (ROOT, ROOT / "modelzoo")
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []


def test_the_floors_are_those_that_the_imports_are_checked_by():
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", section("The floors"), re.M)
    assert [int(number) for number, _ in rows] == [*range(len(FLOORS))]
    assert tuple({*re.findall(r"`(\w+)`", rooms)} for _, rooms in rows) == FLOORS


def test_the_ladder_names_every_architecture_with_the_backbone_that_it_imports():
    rows = re.findall(r"^\| `(backbones/\w+\.py)` \| ([^|]+) \|", section("The ladder"), re.M)
    shown = {name: file for file, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert shown.keys() == CORE["architectures"].keys()
    for name, file in shown.items():
        text = (ROOT / "modelzoo" / "architectures" / f"{name}.py").read_text("utf-8")
        assert f"from modelzoo.backbones.{file[10:-3]} import" in text, name
    assert f"{len(shown)} architectures stand on {len(rows)} backbones" in PAGE
