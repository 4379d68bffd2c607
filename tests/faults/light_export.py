"""An export without a conversion: what is written, and how, and nothing that takes seconds."""

from __future__ import annotations

from pathlib import Path

from tests import written


def install() -> None:
    """Put it in the place of the export's child process."""
    from modelzoo.cli import export as command
    from modelzoo.exporting.process import child

    def run(job: dict, progress=None) -> dict:
        written.bundle(Path(job["folder"]), "new")
        return {"manifest": {}, "parity": {}}

    child.run = run
    command.summary = lambda report, path: f"{path}: written"
