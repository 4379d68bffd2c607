"""Good files to damage: those that modelzoo 0.1 wrote, kept beside the tests."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

ARCHIVE = Path(__file__).parents[2] / "written_by_0.1.zip"


@cache
def files(prefix: str) -> dict[str, bytes]:
    """Name -> content of the files below a folder of the archive: `files("gpt.tflite")`."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        names = [name for name in archive.namelist() if name.startswith(f"{prefix}/")]
        return {name.removeprefix(f"{prefix}/"): archive.read(name) for name in names}


def write(folder: Path, contents: dict[str, bytes]) -> Path:
    """Writes files to a folder."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def keras_side() -> None:
    """Import what Keras models need, in the parent of all children; nothing is computed."""
    import keras
    import tensorflow

    from modelzoo import registry
    from modelzoo.registry import components

    assert keras and tensorflow
    for task in components.CORE["tasks"]:
        registry.task(task)
