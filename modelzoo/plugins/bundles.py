"""The bundles of a package: the folders of its folder `bundles`, as `modelzoo export` writes them.

Listing reads each manifest as JSON. Nothing is imported, and no model is opened.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["BUNDLES", "bundle_folders", "glance_manifest"]

BUNDLES = "bundles"


def bundle_folders(package: str | Path) -> dict[str, Path]:
    """Name -> folder, of each bundle of the package in this folder; `{}` where it has none.

    A folder whose name begins with a dot or an underscore is not a bundle.
    """
    try:
        names = sorted(os.listdir(Path(package, BUNDLES)))
    except OSError:  # it has none
        return {}
    folders = {name: Path(package, BUNDLES, name) for name in names if name[0] not in "._"}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def glance_manifest(folder: Path) -> tuple[dict[str, Any], str | None]:
    """What a bundle's manifest says, and why it cannot be read, or `None`. Never raises.

    The hashes of the files are not compared: that is for whoever opens the bundle.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    except OSError as error:
        return {}, f"its manifest.json cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        return {}, f"its manifest.json is not JSON: {error}"
    if not isinstance(manifest, dict):
        return {}, "its manifest.json is not a table"
    return manifest, None
