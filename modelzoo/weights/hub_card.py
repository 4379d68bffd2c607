"""The README.md of a written checkpoint, with the metadata block that the hub reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from modelzoo.about import VERSION
from modelzoo.weights.origin import card_rows

__all__ = ["hub_card"]

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_HUB = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:[@/].*)?", re.ASCII)
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def hub_card(recipe, source: Mapping[str, Any], *, title: str, library: str, does: Mapping) -> str:
    """Markdown after YAML with `license`, `library_name`, `pipeline_tag`, `base_model` and `tags`.

    What is not known is left out.

    Args:
        recipe: of the model.
        source: the model's table `[source]`; see `weights.origin`.
        title: of the page.
        library: that opens the checkpoint, `transformers` or `sentence-transformers`.
        does: what the task says: `does` and `pipeline_tag`.

    Example:
        >>> does = {"does": "continues a text", "pipeline_tag": "text-generation"}
        >>> recipe = modelzoo.read_recipe("gpt-tiny")
        >>> card = hub_card(recipe, {}, title="my-gpt", library="transformers", does=does)
        >>> card.splitlines()[:3]
        ['---', 'library_name: transformers', 'pipeline_tag: text-generation']
    """
    rows = {
        "made with": f"modelzoo {VERSION}, recipe `{recipe.name}`, task `{recipe.task}`",
        **card_rows(source),
        **({"reference": recipe.reference} if recipe.reference else {}),
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    summary = recipe.summary or f"A model that {does['does'] or 'is described by its recipe'}."
    block = "\n".join(_metadata(recipe, source, library, does["pipeline_tag"]))
    return f"---\n{block}\n---\n\n# {title}\n\n{summary}\n\n| | |\n|---|---|\n{table}\n"


def _metadata(recipe, source: Mapping[str, Any], library: str, tag: str) -> list[str]:
    lines = []
    licence = source.get("licence")
    if licence and _LICENCE.fullmatch(licence.lower()):
        lines.append(f"license: {licence.lower()}")
    elif licence:
        lines += ["license: other", f"license_name: {json.dumps(licence)}"]
    lines.append(f"library_name: {library}")
    if tag:
        lines.append(f"pipeline_tag: {tag}")
    place = _HUB.fullmatch(str(source.get("place", "")))
    base = place[1] if place else str(source.get("base_model", ""))
    if _REPOSITORY.fullmatch(base):
        lines.append(f"base_model: {base}")
    return [*lines, "tags:", "- modelzoo", f"- {recipe.architecture}"]
