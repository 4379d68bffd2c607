"""Checkpoints of the Hugging Face Hub: `hf://owner/name` becomes a path on this disk.

`huggingface_hub` does the fetching, so its cache, progress bar, login, mirror and offline mode are
as its users know them. Here stands what to fetch; what a failure means stands in hub_errors.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from modelzoo.errors import WeightsError, nearest, require
from modelzoo.files import read_json
from modelzoo.weights.hub.errors import FORMS, Address, explained
from modelzoo.weights.provenance import CARD
from modelzoo.weights.small_files import ADAPTER, SMALL

if TYPE_CHECKING:
    from huggingface_hub import HfApi, RepoFile, ResolvedRevision

    Listing = Mapping[str, RepoFile]

__all__ = ["download", "is_hub"]

_ADDRESS = re.compile(
    r"""hf://(?:models/)?
    (?P<repo>[\w.-]+(?:/[\w.-]+)?)
    (?:@(?P<revision>refs/pr/\d+|refs/convert/[\w.-]+|[^/@]+))?
    (?:/(?P<file>.+))?""",
    re.VERBOSE | re.ASCII,
)
_PAGE = re.compile(r"https?://(?:huggingface\.co|hf\.co)/([^?#]+).*")

_CONFIGS = f"config.json {ADAPTER} chat_template.jinja chat_template.json"
_TOKENIZER = """tokenizer.json special_tokens_map.json added_tokens.json
    vocab.txt vocab.json merges.txt source.spm"""
_SMALL = {*SMALL, *_CONFIGS.split(), *_TOKENIZER.split()}
_VOCABULARIES = {"tokenizer.json", "vocab.txt", "vocab.json"}
_WEIGHTS = (".safetensors", ".gguf")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def is_hub(source: str) -> bool:
    """Whether `source` means the hub rather than this disk; a mistyped `hf:` or a web page too.

    Example:
        >>> is_hub("hf://openai-community/gpt2"), is_hub("checkpoints/gpt2")
        (True, False)
    """
    return source.lower().startswith("hf:") or _PAGE.fullmatch(source) is not None


def download(source: str) -> Path:
    """Fetches what modelzoo reads of a repository, and of that what is not in the cache yet.

    Args:
        source: `hf://owner/name`, `hf://name`, either with `@revision` (branch, tag, commit or
            `refs/pr/1`), or such an address with `/path/file.gguf` or `/path/file.safetensors`.

    Returns:
        The snapshot's directory in the cache of `huggingface_hub`; the file, where one is named.
        Beside a `.safetensors` file lie the configuration and the tokenizer of its folder.

    Raises:
        WeightsError: there is no such thing, it is closed to this login, it holds nothing that can
            be read, it cannot be reached and is not in the cache, the disk is full, or a file came
            with another content than the hub lists.
        MissingDependencyError: `huggingface_hub` is not installed.

    Example:
        download("hf://HuggingFaceTB/SmolLM2-135M")
    """
    address = _parse(source)
    hub = require("huggingface_hub", "tensorflow")
    with explained(address):
        api = hub.HfApi(library_name="modelzoo")
        # From here on one commit: a push in the meantime cannot mix two.
        commit = api.resolve_revision(address.repo, revision=address.revision)
        names, stated, on_disk = _names(api, address, commit)
        wanted = (
            _one_file(names, address, address.file)
            if address.file
            else _directory(api, names, address, commit)
        )
        new = [name for name in wanted if not _is_held(address, commit, name)]
        # Only along with something else: a cache that is whole without it serves offline.
        if new and CARD in names and not wanted[0].lower().endswith(".gguf"):
            wanted.append(CARD)
            new += [] if _is_held(address, commit, CARD) else [CARD]
        patterns = [escape(name) for name in wanted]
        folder = Path(
            api.snapshot_download(
                address.repo, revision=commit, allow_patterns=patterns, local_files_only=on_disk
            )
        )
        if new and not on_disk:
            stated = stated or _listing(api, address, commit)
            for name in new:
                check_content(folder / name, stated[name], address)
    return folder / (address.file or "")


# === What was asked for ===


def _parse(source: str) -> Address:
    page = _PAGE.fullmatch(source)
    if page:  # .../blob/main/x.gguf is the page of a file, .../tree/v1 of a revision
        meant = re.sub(r"/(?:blob|raw|resolve|tree)/", "@", page[1].rstrip("/"), count=1)
        raise WeightsError(f"{source} is a web page", did_you_mean=f"hf://{meant}", next_step=FORMS)
    kind = source.removeprefix("hf://").partition("/")[0]
    if kind in ("datasets", "spaces", "kernels", "buckets"):
        raise WeightsError(f"{source} leads to {kind}, not to a model", next_step=FORMS)
    found = _ADDRESS.fullmatch(source.rstrip("/"))
    path = found["file"] if found else None
    if not found or (path and any(part in ("", ".", "..") for part in path.split("/"))):
        raise WeightsError(f"{source!r} is not an address on the hub", next_step=FORMS)
    revision = unquote(found["revision"]) if found["revision"] else None
    address = Address(source, found["repo"], revision, path)
    if path and path.lower().endswith(_PICKLED):
        raise _pickled(address, path)
    if path and not path.lower().endswith(_WEIGHTS):
        raise WeightsError(
            f"{path} is not a .safetensors or .gguf file", where=source, next_step=FORMS
        )
    return address


# === What there is ===


def _names(
    api: HfApi, address: Address, commit: ResolvedRevision
) -> tuple[list[str], Listing, bool]:
    """All files of the commit, and what the hub states of them, if it was asked just now.

    Where it cannot be asked, those on the disk, and `True`.
    """
    from huggingface_hub import errors, get_cached_repo_tree

    try:
        tree = get_cached_repo_tree(address.repo, revision=commit)
        return sorted(file.path for file in tree), {}, False
    except errors.CachedRepoTreeNotFoundError:
        pass
    try:
        listing = _listing(api, address, commit)
        return sorted(listing), listing, False
    except (errors.RevisionNotFoundError, errors.RepositoryNotFoundError):
        raise
    except (errors.HTTPError, OSError) as unreachable:  # pyright: ignore[reportPrivateImportUsage]
        # Another program filled the cache, file by file: no list came with them.
        try:
            folder = api.snapshot_download(address.repo, revision=commit, local_files_only=True)
        except errors.LocalEntryNotFoundError:
            raise unreachable from None
        names = [p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file()]
        weights = [n for n in names if "/" not in n and n.endswith((".safetensors", _INDEX))]
        if not (address.file in names if address.file else weights):
            raise unreachable from None
        return sorted(names), {}, True


def _listing(api: HfApi, address: Address, commit: ResolvedRevision) -> Listing:
    """Path -> what the hub states of a file: its size, and the hash of its content."""
    from huggingface_hub import RepoFile

    tree = api.list_repo_tree(address.repo, recursive=True, revision=commit.resolved)
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def _is_held(address: Address, commit: ResolvedRevision, name: str) -> bool:
    """Whether a file is in the cache already; it was checked when it came there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(address.repo, name, revision=commit.resolved)
    return isinstance(found, str)


def check_content(path: Path, stated: RepoFile, address: Address) -> None:
    """Reject, and remove from the cache, a file that is not the one that the hub lists.

    A large file is known by its sha256, another by its name in git.

    Raises:
        WeightsError: its content has another hash.
    """
    size = path.stat().st_size
    hasher = hashlib.sha256() if stated.lfs else hashlib.sha1(b"blob %d\0" % size)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    expected = stated.lfs.sha256 if stated.lfs else stated.blob_id
    if hasher.hexdigest() == expected:
        return
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    raise WeightsError(
        f"{stated.path} came with another content than {address.repo} lists: its hash is "
        f"{hasher.hexdigest()}, and {expected} was expected",
        where=address.source,
        next_step="run it again; if it happens again, the mirror or the network changes files",
    )


# === What to take ===


def _directory(
    api: HfApi, names: Sequence[str], address: Address, commit: ResolvedRevision
) -> list[str]:
    weights = _weights(names, address)
    if weights == [_INDEX]:
        path = Path(api.hf_hub_download(address.repo, _INDEX, revision=commit))
        weights += _shards(path, names, address)
    modules = [name for name in names if re.fullmatch(r"[^/]+/config\.json", name)]
    return _small(names) + (modules if "modules.json" in names else []) + weights


def _one_file(names: Sequence[str], address: Address, file: str) -> list[str]:
    if file not in names:
        same_kind = [name for name in names if name.lower().endswith(_WEIGHTS)]
        near = nearest(file, same_kind)
        raise WeightsError(
            f"{address.repo} has no file {file}",
            where=address.source,
            did_you_mean=near and address.at(file=near),
            next_step=f"it has: {_some(same_kind)}" if same_kind else FORMS,
        )
    if file.lower().endswith(".gguf"):  # it holds its own configuration and tokenizer
        return [file]
    folder = file.rpartition("/")[0]
    return _small(names, f"{folder}/" if folder else "") + [file]


def _small(names: Sequence[str], folder: str = "") -> list[str]:
    here = [name.removeprefix(folder) for name in names if name.startswith(folder)]
    small = [name for name in here if name in _SMALL]
    if not _VOCABULARIES & set(here):  # a sentencepiece model says more where there is nothing else
        small += [name for name in here if name.endswith(".model") and "/" not in name]
    return [folder + name for name in small]


def _weights(names: Sequence[str], address: Address) -> list[str]:
    """One set of weights; a repository may have the same ones in several forms."""
    top = [name for name in names if "/" not in name]
    for best in (_WHOLE, _INDEX):
        if best in top:
            return [best]
    if ADAPTER in top:
        raise WeightsError(
            f"{address.repo} is an adapter, not a whole model",
            where=address.source,
            next_step="merge it into its base model with peft (merge_and_unload, save_pretrained)",
        )
    alone = [name for name in top if name.endswith(".safetensors")]
    if len(alone) == 1:
        return alone
    for suffix in _WEIGHTS:
        if several := alone or [name for name in names if name.lower().endswith(suffix)]:
            raise WeightsError(
                f"{address.repo} has no {_WHOLE}, but {_some(several)}",
                where=address.source,
                next_step=f"name one: {address.at(file=several[0])}",
            )
    if pickled := [name for name in top if name.endswith(_PICKLED)]:
        raise _pickled(address, _some(pickled))
    raise WeightsError(
        f"{address.repo} has no weights that can be read (.safetensors, .gguf)",
        where=address.source,
        next_step=f"it has: {_some(names)}" if names else "take another repository",
    )


def _shards(index: Path, names: Sequence[str], address: Address) -> list[str]:
    unsaid = WeightsError(
        f"{_INDEX} of {address.repo} does not say which shards there are",
        where=address.source,
        next_step=f"tell its owner, or name a file: {address.at(file='FILE.safetensors')}",
    )
    try:
        table = read_json(index, WeightsError).get("weight_map")
    except WeightsError as error:
        raise unsaid from error
    if not isinstance(table, dict):
        raise unsaid
    shards = sorted(set(map(str, table.values())))
    if missing := [name for name in shards if name not in names]:
        raise WeightsError(
            f"{len(missing)} of {len(shards)} shards are missing: {_some(missing)}",
            where=address.source,
            next_step="run it once with the network on; if they are not on the hub, tell its owner",
        )
    return shards


def _pickled(address: Address, files: str) -> WeightsError:
    return WeightsError(
        f"{address.repo} has no .safetensors, but {files}: reading that can run code of its author",
        where=address.source,
        next_step="if you trust it, transformers' from_pretrained(...).save_pretrained(DIR) writes "
        "safetensors: build DIR. Or https://huggingface.co/spaces/safetensors/convert opens pull "
        f"request N with them: hf://{address.repo}@refs/pr/N",
    )


def _some(names: Sequence[str], most: int = 8) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
