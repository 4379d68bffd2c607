"""From what a user names to an opened checkpoint: a directory, a file, a place on the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from modelzoo.errors import WeightsError, nearest
from modelzoo.files import check_file, read_json
from modelzoo.recipe import LOCK_NAME
from modelzoo.weights.checkpoint import Checkpoint, Tensor
from modelzoo.weights.ctranslate2 import is_ctranslate2, open_ctranslate2
from modelzoo.weights.hub.download import download, is_hub
from modelzoo.weights.keys import check_config
from modelzoo.weights.provenance import card_of_folder
from modelzoo.weights.small_files import ADAPTER, ADAPTER_WEIGHTS, MODULES, SMALL, adapter
from modelzoo.weights.tensors import open_safetensors
from modelzoo.weights.tokenizer_files import read_tokenizer_files

CONFIG, INDEX, WHOLE = "config.json", "model.safetensors.index.json", "model.safetensors"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")


def is_source(name: str | os.PathLike) -> bool:
    """Whether `name` means a checkpoint rather than a recipe or a model directory.

    >>> is_source("hf://owner/name"), is_source("model.gguf"), is_source("gpt-small")
    (True, True, False)
    """
    path = Path(name)
    if is_hub(os.fspath(name)) or path.suffix in (".safetensors", ".gguf", *_PICKLED):
        return True
    if not path.is_dir() or (path / LOCK_NAME).exists():
        return False
    return (path / CONFIG).exists() or (path / ADAPTER).exists()


def open_checkpoint(source: str | os.PathLike) -> Checkpoint:
    """Open a checkpoint; tensors are read when they are asked for.

    Args:
        source: a directory in Hugging Face layout, sharded or not; a `.safetensors` file, with its
            `config.json` beside it where there is one; a `.gguf` file; a CTranslate2 directory or
            its `model.bin`; `hf://owner/name@revision`.

    Raises:
        WeightsError: not found, damaged, of a kind that is not read here, or not to be fetched.

    Example:
        >>> checkpoint = open_checkpoint("gpt2")  # hf://openai-community/gpt2 downloads it
        >>> checkpoint.config["model_type"]
        'gpt2'
    """
    where = os.fspath(source)
    path = download(where) if is_hub(where) else Path(source)
    if is_ctranslate2(path):
        return replace(open_ctranslate2(path), path=path)
    if path.suffix in _PICKLED:
        raise _pickled(path)
    if not path.exists():
        raise WeightsError(f"no such checkpoint: {where}", next_step="give a directory or a file")
    if not path.is_dir():
        check_file(path, WeightsError, path.name)
    if path.suffix == ".gguf":
        from modelzoo.weights.gguf.opening import open_gguf

        return replace(open_gguf(path), path=path)
    if path.is_file():
        if path.suffix != ".safetensors":
            raise WeightsError(
                f"{path.name} is not a checkpoint",
                where=where,
                next_step="give a directory, a .safetensors file or a .gguf file",
            )
        return _checkpoint(where, path, open_safetensors(path))
    if (path / ADAPTER).is_file():
        raise adapter(path / ADAPTER, read_json(path / ADAPTER, WeightsError))
    return _checkpoint(where, path, _tensors(path))


def _checkpoint(where: str, path: Path, tensors: Mapping[str, Tensor]) -> Checkpoint:
    folder = path if path.is_dir() else path.parent
    if (folder / ADAPTER).is_file():
        raise adapter(folder / ADAPTER, read_json(folder / ADAPTER, WeightsError))
    config = {}
    if (folder / CONFIG).is_file():
        config = read_json(folder / CONFIG, WeightsError)
        check_config(config, folder / CONFIG)
    names = [
        *SMALL,
        *(f"{path.parent.name}/{path.name}" for path in folder.glob("*/*config.json")),
    ]
    extras = {
        name: read_json(folder / name, WeightsError, list if name == MODULES else dict)
        for name in names
        if (folder / name).is_file()
    }
    tokenizer = read_tokenizer_files(folder, {**config, **_stops(extras)})
    return Checkpoint(where, config, tensors, tokenizer, extras, path, card_of_folder(folder))


def _stops(extras: Mapping) -> dict:
    """The ids that end a text, which generation_config.json knows best."""
    ids = extras.get("generation_config.json", {}).get("eos_token_id")
    return {} if ids is None else {"eos_token_id": ids}


def _tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of all shards, or of the one file."""
    if (folder / WHOLE).is_file():  # over an index, which may be older: as in transformers
        return open_safetensors(folder / WHOLE)
    if (folder / INDEX).is_file():
        shards = read_json(folder / INDEX, WeightsError).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(v, str) for v in shards.values()):
            raise WeightsError("the index has no proper weight_map", where=folder / INDEX)
        found: dict[str, Tensor] = {}
        for name in sorted(set(shards.values())):
            if not _is_there(folder, name):
                raise WeightsError(
                    f"the index names {name[:80]}, which is not there",
                    where=folder / INDEX,
                    next_step="fetch the whole directory again",
                )
            found.update(open_safetensors(folder / name))
        missing = sorted(set(shards) - set(found))
        if missing:
            raise WeightsError(
                f"{shards[missing[0]]} does not hold {missing[0]}, as the index says",
                where=folder / INDEX,
                did_you_mean=nearest(missing[0], found),
            )
        return found
    files = sorted(path for path in folder.glob("*.safetensors") if path.name != ADAPTER_WEIGHTS)
    if len(files) == 1:
        return open_safetensors(files[0])
    pickled = sorted(path for path in folder.iterdir() if path.suffix in _PICKLED)
    if pickled and not files:
        raise _pickled(pickled[0])
    gguf = sorted(path.name for path in folder.glob("*.gguf"))
    raise WeightsError(
        f"{len(files)} .safetensors files and no {INDEX}" if files else "no .safetensors file",
        where=folder,
        next_step=f"name the file: {folder / (gguf or [path.name for path in files])[0]}"
        if gguf or files
        else "a checkpoint is a directory with config.json and model.safetensors",
    )


def _is_there(folder: Path, name: str) -> bool:
    """Whether a name from an index is that of a file in the folder itself."""
    if Path(name).name != name or "\0" in name or len(name) > 255:
        return False
    return (folder / name).is_file()


def _pickled(path: Path) -> WeightsError:
    return WeightsError(
        f"{path.name} is a pickle, which can run any code when it is opened",
        where=path,
        next_step="convert it where you trust it: AutoModel.from_pretrained(...)"
        ".save_pretrained(DIR) of transformers writes .safetensors",
    )
