"""What a checkpoint says about itself: its licence, its base model, which revision or file it is.

Nothing is guessed: what no file at hand states is left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import WeightsError
from modelzoo.files import check_file

if TYPE_CHECKING:
    from modelzoo.weights.checkpoint import Checkpoint

__all__ = ["CARD", "card_of_folder", "card_of_gguf", "front_matter", "source_of"]

CARD = "README.md"
_MOST = 1 << 16  # bytes of a card that are looked at: its metadata come first
_LONGEST = 200  # characters of a value
_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_KEY = re.compile(r"([\w-]+):(?:[ \t]+(.*))?")
_ITEM = re.compile(r"[ \t]*-[ \t]+(.+)")
# Where huggingface_hub keeps a revision of a repository.
_CACHED = re.compile(r"models--([\w.-]+)/snapshots/([0-9a-f]{40})(?:/(.+))?$", re.ASCII)
_REPOSITORY = re.compile(r"(?:https?://huggingface\.co/)?([\w.-]+/[\w.-]+)/?", re.ASCII)


def source_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The table `[source]` of a model with a checkpoint's weights.

    Returns: `place` (an address on the hub; of a local checkpoint its name alone), `revision` on
    the hub or else the `sha256` of the weights, and of `name`, `organization`, `licence` and
    `base_model` what the checkpoint states.

    Raises:
        WeightsError: its file cannot be read.
    """
    path = checkpoint.path
    if path is None:
        return {"weights": "pretrained", **checkpoint.card}
    found = _CACHED.search(path.absolute().as_posix())
    if found is None:
        facts = {"place": path.resolve().name, "sha256": _digest(path)}
    else:
        rest = f"/{found[3]}" if found[3] else ""
        place = f"hf://{found[1].replace('--', '/')}{rest}"
        facts = {"place": place, "revision": found[2]}
        if checkpoint.where.startswith("hf://"):
            facts["place"] = checkpoint.where
    return {"weights": "pretrained", **facts, **checkpoint.card}


def card_of_folder(folder: Path) -> dict[str, str]:
    """Licence and base model as the metadata of a folder's README.md state them; `{}` without."""
    path = folder / CARD
    if not path.is_file():
        return {}
    check_file(path, WeightsError, CARD)
    with open(path, "rb") as file:
        stated = front_matter(file.read(_MOST).decode("utf-8", errors="replace"))
    licence = stated.get("license")
    if licence == "other":  # of no well-known name: its own stands beside it
        licence = stated.get("license_name", licence)
    return _stated({"licence": licence, "base_model": stated.get("base_model")})


def card_of_gguf(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Name, organization, licence and base model as a GGUF file's metadata state them."""
    base = "general.base_model.0."
    url = _REPOSITORY.fullmatch(str(metadata.get(f"{base}repo_url", "")))
    parts = (metadata.get(f"{base}organization"), metadata.get(f"{base}name"))
    named = " ".join(part for part in parts if isinstance(part, str))
    return _stated(
        {
            "name": metadata.get("general.name"),
            "organization": metadata.get("general.organization"),
            "licence": metadata.get("general.license"),
            "base_model": url[1] if url else named,
        }
    )


def front_matter(text: str) -> dict[str, str | list[str]]:
    """The texts and flat lists of a card's metadata, the YAML between two lines of `---`.

    Anything deeper is left out.

    Example:
        >>> front_matter("---\\nlicense: mit\\ntags:\\n- a\\n- b\\n---\\n# A model")
        {'license': 'mit', 'tags': ['a', 'b']}
    """
    block = _MATTER.match(text)
    found: dict[str, str | list[str]] = {}
    key = None
    for line in block[1].splitlines() if block else ():
        if item := _ITEM.fullmatch(line):
            items = None if key is None else found.setdefault(key, [])
            if isinstance(items, list):
                items.append(_plain(item[1]))
            continue
        pair = _KEY.fullmatch(line.rstrip())
        if pair is None:
            continue
        key, value = pair[1], _plain(pair[2] or "")
        if value.startswith("[") and value.endswith("]"):
            found[key] = [_plain(one) for one in value[1:-1].split(",") if one.strip()]
        elif value:
            found[key] = value
    return found


def _plain(value: str) -> str:
    value = value.strip()
    if value[:1] in ("'", '"'):
        return value[1:].partition(value[0])[0]
    return value.partition(" #")[0].strip()


def _stated(values: Mapping[str, object]) -> dict[str, str]:
    """What is a text, or a list of texts, as one short line each; nothing else."""
    found = {}
    for key, value in values.items():
        parts = value if isinstance(value, list) else [value]
        texts = [one for one in parts if isinstance(one, str)]
        if len(texts) == len(parts):
            line = " ".join(", ".join(texts).split())
            if line and line.isprintable():
                found[key] = line[:_LONGEST]
    return found


def _digest(path: Path) -> str:
    """sha256 of a file; of a folder that of the lines `sha256  name` of its files of weights."""
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted([*path.glob("*.safetensors"), *path.glob("model.bin")])
    if len(files) == 1:
        return _digest(files[0])
    lines = "".join(f"{_digest(one)}  {one.name}\n" for one in files)
    return hashlib.sha256(lines.encode()).hexdigest()
