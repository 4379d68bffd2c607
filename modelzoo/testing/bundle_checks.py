"""A bundle of a plugin: is it whole, does it run, and does it say what it is?"""

from __future__ import annotations

import io
from contextlib import redirect_stdout

from modelzoo.plugins import Plugin
from modelzoo.runtime.model import load
from modelzoo.testing.check import fail


def bundle(plugin: Plugin, name: str) -> None:
    """Its files have their hashes, every signature gives numbers, and its example runs."""
    import numpy as np

    from modelzoo.exporting.verification.soundness import check_bundle

    folder = plugin.bundles()[name]
    where = f"{plugin.title}, {folder / 'manifest.json'}"
    manifest = check_bundle(folder)
    if "README.md" not in manifest["files"]:
        fail(
            f"{name} has no README.md",
            where=where,
            next_step="write one with the data, its licence and the figures, before the manifest",
        )
    example = manifest.get("example")
    if not isinstance(example, str):
        fail(
            f"{name} has no example",
            where=where,
            next_step='state one line of Python in the manifest: "example": '
            "\"print(model.generate('Once'))\"",
        )
    said = io.StringIO()
    with redirect_stdout(said):  # the plugin's own line, as its own code would be imported
        exec(example, {"model": load(folder), "np": np})
    if not said.getvalue().strip():
        fail(f"the example of {name} prints nothing: {example}", where=where)
