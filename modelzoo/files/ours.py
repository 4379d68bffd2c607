"""What modelzoo wrote, recognised by marks with a digest inside: only that may be replaced.

A model directory has a lock file with the digest of its values. A bundle has one too, and a
manifest with the sha256 of every file. A checkpoint has `modelzoo.json`. Each mark says which files
belong to it, and a folder that holds anything else is not replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from modelzoo.about import VERSION

__all__ = ["MARK", "foreign", "values_digest", "write_mark"]

MARK, _LOCK, _MANIFEST = "modelzoo.json", "recipe.lock.toml", "manifest.json"
_FORMAT_VERSION = 1

_MODEL = {_LOCK, "model.keras", "tokenizer.json", "chat_template.jinja", "README.md"}
# All that modelzoo 0.1 wrote into a checkpoint, which had no mark then.
_CHECKPOINT = {
    "1_Pooling/config.json",
    "chat_template.jinja",
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "model.safetensors",
    "modules.json",
    "preprocessor_config.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
}


def values_digest(values: Mapping) -> str:
    """sha256 of the canonical JSON of plain values.

    Example:
        >>> values_digest({"b": 1, "a": 2}) == values_digest({"a": 2, "b": 1})
        True
    """
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def write_mark(folder: Path) -> None:
    """Write `modelzoo.json`: the names of all files in `folder`, and a digest of what it says."""
    facts = {"format_version": _FORMAT_VERSION, "modelzoo": VERSION, "files": _files(folder)}
    text = json.dumps({**facts, "digest": values_digest(facts)}, indent=2, ensure_ascii=False)
    (folder / MARK).write_text(text + "\n", "utf-8")


def foreign(path: Path) -> str | None:
    """The first file in a folder that modelzoo did not write; "" where `path` is a file itself.

    Returns: None where the folder may be replaced: it is empty, or all in it is named by a mark.
    """
    if not path.is_dir():
        return ""
    own = _own(path)
    return next((name for name in _files(path) if name not in own), None)


def _files(folder: Path) -> list[str]:
    """Everything but folders, links to folders among them; empty folders hold nothing to lose."""
    found = []

    def unreadable(error: OSError) -> None:
        found.append(Path(error.filename).relative_to(folder).as_posix())

    for top, folders, files in os.walk(folder, onerror=unreadable):
        links = [name for name in folders if os.path.islink(os.path.join(top, name))]
        place = Path(top).relative_to(folder)
        found += [(place / name).as_posix() for name in (*links, *files)]
    return sorted(found)


def _own(folder: Path) -> set[str]:
    """The files that the marks of a folder name; nothing where there is no sound mark."""
    mark = _json(folder / MARK)
    if mark.pop("digest", None) == values_digest(mark) and _version(mark):
        return {MARK, *mark["files"]}
    if _locked(folder / _LOCK):
        manifest = _json(folder / _MANIFEST)
        files = manifest.get("files")
        if _version(manifest) and isinstance(files, dict) and _LOCK in files:
            if files[_LOCK] == hashlib.sha256((folder / _LOCK).read_bytes()).hexdigest():
                return {_MANIFEST, *files}
        return _MODEL
    # `transformers` says its version; what downloads say of their type has another name, or more.
    config = _json(folder / "config.json")
    of_0_1 = config.get("dtype") == "float32" and "transformers_version" not in config
    return _CHECKPOINT if of_0_1 and "architectures" in config else set()


def _version(mark: Mapping) -> bool:
    return type(mark.get("format_version")) is int


def _locked(path: Path) -> bool:
    """Whether it is a lock file with the digest of its own values."""
    import tomllib

    try:
        values = tomllib.loads(path.read_text("utf-8"))
        lock = values.pop("lock")
        values.pop("source", None)  # no part of the recipe
        return _version(lock) and lock["digest"] == values_digest(values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False  # damaged, or another's: not a mark


def _json(path: Path) -> dict:
    """The object in a JSON file; empty where there is none."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
