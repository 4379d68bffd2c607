"""The bundle on disk: a directory whose manifest names every file and its hash. stdlib only.

Reading one executes nothing. Every hash is checked before anything else looks at a file.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelzoo.about import UPGRADE
from modelzoo.errors import BundleError, ModelzooError, nearest, shown
from modelzoo.files import read_json, write_atomic

FORMAT_VERSION = 1
MANIFEST = "manifest.json"

# What a reader relies on, and its type.
_REQUIRED = {
    "name": str,
    "task": str,
    "format": str,
    "model": str,
    "signatures": dict,
    "files": dict,
}
# What may be missing or null. modelzoo 0.1 wrote neither engine nor abilities.
_OPTIONAL = {
    "engine": str,
    "abilities": list,
    "labels": list,
    "problem_type": str,
    "thresholds": list,
    "generation": dict,
    "processing": dict,
    "tokenizer": dict,
    "gallery": dict,
    "source": dict,
    "title": str,
}
_IN_TOKENIZER = {"roles": dict, "stop_tokens": list}
_OF_TEXTS = ("abilities", "labels", "stop_tokens")
_WORDS = {str: "a string", dict: "a table", list: "a list"}


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are all present and unchanged.

    Attributes:
        directory: where it is.
        manifest: the content of `manifest.json`.
    """

    directory: Path
    manifest: dict

    @property
    def model_path(self) -> Path:
        """`model.tflite`, or the directory of a SavedModel."""
        return self.directory / self.manifest["model"]

    @property
    def tokenizer_path(self) -> Path | None:
        """`tokenizer.json`, or None for a model that reads no text."""
        tokenizer = self.manifest.get("tokenizer")
        return self.directory / tokenizer["file"] if tokenizer else None

    @property
    def chat_template_path(self) -> Path | None:
        """`chat_template.jinja`, or None for a model that does not chat."""
        name = (self.manifest.get("tokenizer") or {}).get("chat_template")
        return self.directory / name if name else None

    @property
    def processing(self) -> dict:
        """How raw inputs become the signatures', with the defaults of what the manifest omits."""
        from modelzoo.runtime.media.processing import completed

        try:
            return completed(self.manifest.get("processing"))
        except ModelzooError as error:
            raise BundleError(
                error.what, where=self.directory / MANIFEST, did_you_mean=error.did_you_mean
            ) from error


def bundle_directory(path: str | os.PathLike) -> Path:
    """The directory of a bundle that is given by its path, or by its name in a plugin.

    A path that exists is a path; only a str can be a name.

    Raises:
        PluginError: the plugin that claims the name's namespace has a problem.

    Example:
        >>> bundle_directory("gpt.bundle")
        PosixPath('gpt.bundle')
    """
    directory = Path(path)
    if isinstance(path, str) and not directory.exists():
        from modelzoo import plugins

        return plugins.find_bundle(path) or directory
    return directory


def is_bundle(path: str | os.PathLike) -> bool:
    """Whether it is a directory with a manifest, in order or not, or a plugin's bundle."""
    return (bundle_directory(path) / MANIFEST).is_file()


def read_bundle(path: str | os.PathLike) -> Bundle:
    """Read a bundle's manifest and check every file that it names.

    Args:
        path: of its directory; or the name of a bundle that a plugin brings, `samples/emoji`.

    Raises:
        BundleError: no bundle there; a manifest that is not JSON, lacks a field, is of a newer
            format or names files outside; a file that is missing or whose sha256 differs.

    Example:
        >>> read_bundle("gpt.bundle").manifest["task"]
        'causal-lm'
    """
    directory = bundle_directory(path)
    where = directory / MANIFEST
    if not directory.is_dir():
        if directory.exists():
            raise BundleError(f"not a bundle (a bundle is a directory): {directory}")
        raise no_bundle(path)
    if not where.is_file():
        model_directory = (directory / "model.keras").exists()
        raise BundleError(
            f"not a bundle: {directory} has no {MANIFEST}",
            next_step=f"this is a model directory: modelzoo export {directory} -o NAME.bundle"
            if model_directory
            else "write one with `modelzoo export`",
        )
    manifest = read_json(where, BundleError, title="the manifest", next_step="export it again")
    _check_fields(manifest, where)
    _check_files(directory, manifest, where)
    return Bundle(directory, manifest)


def no_bundle(path: str | os.PathLike) -> BundleError:
    """The error about a path where nothing is, with the nearest name of a plugin's bundle."""
    from modelzoo import plugins

    known = plugins.bundle_names()
    return BundleError(
        f"no such bundle: {os.fspath(path)}",
        did_you_mean=nearest(os.fspath(path), known),
        next_step="modelzoo list shows the bundles that are installed"
        if known
        else "modelzoo export MODEL -o BUNDLE writes one",
    )


def write_manifest(directory: str | os.PathLike, manifest: dict) -> dict:
    """Write `manifest.json` over the files that are in `directory` now.

    Args:
        manifest: all but `format_version` and `files`, which are filled in: the version that this
            module reads, and the sha256 of every file below `directory` but the manifest itself.

    Returns:
        The manifest as written.

    Raises:
        OutputError: it cannot be written; an old one is as it was.
        BundleError: a field that every reader needs is missing, or names no file of the bundle.

    Example:
        >>> manifest = write_manifest("gpt.bundle", read_bundle("gpt.bundle").manifest)
        >>> list(manifest["files"])
        ['chat_template.jinja', 'model.tflite', 'tokenizer.json']
    """
    directory = Path(directory)
    target = directory / MANIFEST
    files = sorted(
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and path != target
    )
    hashes = {name: sha256_file(directory / name) for name in files}
    manifest = {"format_version": FORMAT_VERSION, **manifest, "files": hashes}
    _check_fields(manifest, target)
    write_atomic(target, _json_lines(manifest) + "\n")
    return manifest


def _json_lines(value: object, indent: str = "") -> str:
    """JSON in which what fits on a line is on one: a tensor of a signature, for example."""
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, dict | list) or len(indent + flat) <= 100:
        return flat
    inner = f"{indent}  "
    if isinstance(value, dict):
        keys = (json.dumps(key, ensure_ascii=False) for key in value)
        lines = [
            f"{key}: {_json_lines(one, inner)}"
            for key, one in zip(keys, value.values(), strict=True)
        ]
    else:
        lines = [_json_lines(one, inner) for one in value]
    opened, closed = flat[0], flat[-1]
    return f"{opened}\n{inner}" + f",\n{inner}".join(lines) + f"\n{indent}{closed}"


def sha256_file(path: str | os.PathLike) -> str:
    """The sha256 of a file's content, in hexadecimal; 500 MB take about a second at most."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_fields(manifest: dict, where: Path) -> None:
    version = manifest.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(f"the manifest's format_version is {version!r}", where=where)
    if version > FORMAT_VERSION:
        raise BundleError(
            f"the bundle has format version {version}, and this modelzoo reads up to "
            f"{FORMAT_VERSION}: it was written by a newer modelzoo"
            + (f" ({manifest['modelzoo']})" if "modelzoo" in manifest else ""),
            where=where,
            next_step=UPGRADE,
        )
    for key, kind in _REQUIRED.items():
        if not isinstance(manifest.get(key), kind):
            found = "has no" if key not in manifest else f"has no proper ({kind.__name__})"
            raise BundleError(f"the manifest {found} {key!r}", where=where)
    _check_optional(manifest, _OPTIONAL, where)
    tokenizer = manifest.get("tokenizer")
    if tokenizer:
        _check_optional(tokenizer, _IN_TOKENIZER, where, "tokenizer.")
    for table in ("signatures", "files"):
        kind = dict if table == "signatures" else str
        for name, value in manifest[table].items():
            if not isinstance(value, kind):
                raise BundleError(f"{table}.{name} must be {_WORDS[kind]}", where=where)

    files = manifest["files"]
    read = [tokenizer.get("file")] if tokenizer else []
    if tokenizer and tokenizer.get("chat_template") is not None:
        read.append(tokenizer["chat_template"])
    gallery = manifest.get("gallery")
    if gallery:
        read += [gallery.get("names"), gallery.get("vectors")]
    for name in [*files, manifest["model"], *read]:
        if not _is_inside(name):
            raise BundleError(
                f"the manifest names a file outside the bundle: {name!r}", where=where
            )
    # What is loaded must be under a hash.
    prefix = manifest["model"].rstrip("/") + "/"
    if manifest["model"] not in files and not any(name.startswith(prefix) for name in files):
        raise BundleError(f"the manifest has no hash for the model {prefix[:-1]!r}", where=where)
    for name in read:
        if name not in files:
            raise BundleError(f"the manifest has no hash for {name!r}", where=where)


def _check_optional(table: dict, kinds: dict, where: Path, prefix: str = "") -> None:
    for key, kind in kinds.items():
        value = table.get(key)
        if value is None:
            continue
        if not isinstance(value, kind):
            raise BundleError(
                f"the manifest's {prefix}{key} must be {_WORDS[kind]}, not {shown(value)}",
                where=where,
            )
        if key in _OF_TEXTS and not all(isinstance(one, str) for one in value):
            raise BundleError(f"the manifest's {prefix}{key} must be a list of texts", where=where)


def _is_inside(name: object) -> bool:
    """Whether a name from a manifest is a plain relative path, on any system."""
    if not isinstance(name, str) or not name or "\\" in name or ":" in name or "\0" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.parts != ()


def _check_files(directory: Path, manifest: dict, where: Path) -> None:
    for name, expected in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            raise BundleError(
                f"{name} is missing from the bundle", where=where, next_step="copy it again, whole"
            )
        found = sha256_file(path)
        if found != expected:
            raise BundleError(
                f"{name} is not the file that was exported: its sha256 is {found}, and the "
                f"manifest expects {expected}",
                where=path,
                next_step="copy the bundle again, or export it again",
            )
    # A SavedModel reader takes what it finds in its directory, so nothing may be added to it.
    for path in (directory / manifest["model"]).rglob("*"):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name not in manifest["files"]:
            raise BundleError(f"{name} is not in the manifest", where=path)
