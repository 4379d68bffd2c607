"""What a failure of the Hugging Face Hub means to a reader: one message, and the next step."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.errors import ModelzooError, WeightsError, nearest

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

__all__ = ["FORMS", "Address", "explained"]

FORMS = "write hf://owner/name, hf://owner/name@revision or hf://owner/name/file.gguf"

_LOGIN = "`hf auth login`, or set HF_TOKEN"
_AGAIN = "files that came whole are kept"


@dataclass(frozen=True)
class Address:
    """`hf://repo@revision/file`, taken apart.

    Attributes:
        source: as it was typed.
        repo: `owner/name`, or `name` of a canonical repository.
        revision: branch, tag or commit; `None` means `main`.
        file: path inside of the repository, or `None`.
    """

    source: str
    repo: str
    revision: str | None = None
    file: str | None = None

    def at(self, *, revision: str | None = None, file: str | None = None) -> str:
        """The same repository at another revision or file."""
        revision = revision or self.revision
        if file and not revision and "/" not in self.repo:
            revision = "main"  # hf://gpt2/model.safetensors would be a repository of the owner gpt2
        refs = "" if not revision else f"@{revision.replace('/', '%2F')}"
        return f"hf://{self.repo}{refs}" + (f"/{file}" if file else "")


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """Turns what `huggingface_hub` raises inside of the block into a `WeightsError`."""
    try:
        yield
    except (ModelzooError, TypeError, AttributeError, NameError):  # ours, or a bug to be seen
        raise
    except Exception as error:
        cause = _cause(error)
        what, next_step = _reason(cause, address)
        raise WeightsError(
            what,
            where=address.source,
            did_you_mean=_nearest_revision(cause, address),
            next_step=next_step,
        ) from error


def _cause(error: BaseException) -> BaseException:
    """The cause of the two errors that only add that the cache did not help either."""
    from huggingface_hub import errors

    while isinstance(error, errors.LocalEntryNotFoundError | errors.RevisionResolutionError):
        if error.__cause__ is None:
            break
        error = error.__cause__
    return error


def _reason(error: BaseException, address: Address) -> tuple[str, str]:
    """What is wrong, and the next step. Subclasses stand before what they derive from."""
    from huggingface_hub import constants, errors

    repo, hub, cache = address.repo, constants.ENDPOINT, constants.HF_HUB_CACHE
    said = f"{type(error).__name__}: {error}".partition("\n")[0]
    match error:
        case errors.OfflineModeIsEnabled():
            return (
                f"HF_HUB_OFFLINE is on, and {repo} is not in the cache {cache}, or not whole",
                f"unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE) and run it once; {_cached()}",
            )
        case errors.GatedRepoError():
            return (
                f"{repo} is gated: its owner asks everyone to accept terms first",
                f"accept them at {hub}/{repo}, then {_LOGIN}",
            )
        case errors.RevisionNotFoundError():
            return (
                f"{repo} has no revision {address.revision or 'main'}",
                f"see {hub}/{repo}/tree/main",
            )
        case errors.RepositoryNotFoundError():
            owner, _, name = repo.partition("/")
            if name.endswith((".gguf", ".safetensors")):
                file = Address(address.source, owner).at(file=name)
                return f"{hub} has no model {repo}", f"if {name} is a file of {owner}: {file}"
            return (
                f"{hub} has no model {repo}, or it is private and closed to this login",
                f"check the name; if it is private: {_LOGIN}",
            )
        case errors.HfHubHTTPError():
            return _status(error, hub)
        case errors.HFValidationError():
            return f"{repo} is not the name of a repository: {error}", FORMS
        case errors.HTTPError():  # pyright: ignore[reportPrivateImportUsage]
            return (
                f"the connection to {hub} failed, and {repo} is not whole in the cache: {said}",
                f"check the network and run it again: {_AGAIN}; {_cached()}",
            )
        case errors.FileMetadataError() | json.JSONDecodeError() | KeyError() | AssertionError():
            return (
                f"{hub} does not answer as a hub does: {said}",
                "check HF_ENDPOINT, and whether a proxy or a login page stands in between",
            )
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return (
                f"no space left for {repo} in the cache {cache}",
                f"free some, or set HF_HUB_CACHE to another disk; {_AGAIN}",
            )
        case OSError(errno=int()):
            return f"the cache {cache} cannot be used: {error}", "set HF_HUB_CACHE to another one"
    return f"{repo} did not come whole: {said}", f"run it again: {_AGAIN}"


def _cached(most: int = 8) -> str:
    """Which models the cache has, whole or in part."""
    from huggingface_hub import constants

    folders = Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*")
    names = {folder.parent.parent.name.removeprefix("models--") for folder in folders}
    found = sorted(f"hf://{name.replace('--', '/')}" for name in names)
    if not found:
        return "the cache has no model"
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f"the cache has {', '.join(found[:most])}{more}"


def _status(error: HfHubHTTPError, hub: str) -> tuple[str, str]:
    code = error.response.status_code
    said = f": {error.server_message}".partition("\n")[0] if error.server_message else ""
    if code == 401 and "authorization" not in error.response.request.headers:
        return f"{hub} wants a login for it{said}", f"check the name, then {_LOGIN}"
    if code == 401:
        return f"{hub} does not take this token{said}", f"renew it: {_LOGIN}"
    if code == 403:
        return f"{hub} forbids it to this login{said}", "give its token the right to read"
    if code == 429:
        return f"{hub} has had too many requests{said}", f"wait a while, or log in: {_LOGIN}"
    return f"{hub} answers {code}{said}", f"run it again later: {_AGAIN}"


def _nearest_revision(error: BaseException, address: Address) -> str | None:
    from huggingface_hub import HfApi, errors

    if not isinstance(error, errors.RevisionNotFoundError):
        return None
    try:
        refs = HfApi().list_repo_refs(address.repo)
    except Exception:  # a mere help to a message that is complete without it
        return None
    near = nearest(address.revision or "main", [ref.name for ref in (*refs.branches, *refs.tags)])
    return near and address.at(revision=near, file=address.file)
