"""The three kinds of folders that modelzoo writes, with nothing in them that takes time."""

from __future__ import annotations

from pathlib import Path

from modelzoo.files import write_mark
from modelzoo.recipe import from_values, write_lock
from modelzoo.runtime.bundle import write_manifest

RECIPE = from_values({"architecture": "gpt", "task": "causal-lm"}, name="mine")


def model_directory(folder: Path, text: str = "old") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_lock(folder, RECIPE)
    (folder / "model.keras").write_text(text)
    (folder / "README.md").write_text("# mine")
    return folder


def bundle(folder: Path, text: str = "old") -> Path:
    (folder / "saved_model" / "assets").mkdir(parents=True)  # empty in bundles too
    (folder / "saved_model" / "saved_model.pb").write_text(text)
    write_lock(folder, RECIPE)
    facts = {"name": "mine", "task": "causal-lm", "format": "savedmodel", "model": "saved_model"}
    write_manifest(folder, {**facts, "signatures": {}})
    return folder


def checkpoint(folder: Path, text: str = "old") -> Path:
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(text)
    write_mark(folder)
    return folder


KINDS = {"model.keras": model_directory, "saved_model/saved_model.pb": bundle}
KINDS["model.safetensors"] = checkpoint
