"""Checkpoints of others: safetensors and their index, the small JSON files, GGUF, CTranslate2."""

from __future__ import annotations

import json
import struct
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from modelzoo import registry
from modelzoo.recipe.schema import validate_against
from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.weights import open_checkpoint, recipe_of_checkpoint
from tests.faults import mutations
from tests.faults.group import Group
from tests.faults.groups import good

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"


def _use(path: Path) -> None:
    """What `modelzoo build CHECKPOINT` does before it makes a model."""
    checkpoint = open_checkpoint(path)
    recipe = recipe_of_checkpoint(checkpoint)
    validate_against(recipe, registry.architecture(recipe.architecture))
    assert recipe.digest
    files = checkpoint.tokenizer
    if files is not None:
        roles = recipe.table("tokenizer").get("roles", files.roles)
        Tokenizer.from_str(files.json, roles, files.stop_tokens, where=checkpoint.where)
    for tensor in checkpoint.tensors.values():
        assert np.asarray(tensor.read()).shape == tuple(tensor.shape)


# === safetensors ===


def _damaged_safetensors(random: Random, content: bytes) -> bytes:
    size = struct.unpack_from("<Q", content)[0]
    kind = random.randrange(4)
    if kind == 0:
        return mutations.damaged_bytes(random, content, head=8 + size)
    if kind == 1 and mutations.chance(random):
        lie = random.choice((0, 1, size - 1, size + 1, 2**31, 2**63 - 1, 2**64 - 1))
        return struct.pack("<Q", lie) + content[8:]
    header = json.loads(content[8 : 8 + size])
    text = mutations.damaged_json(random, header)
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def _make_safetensors(random: Random, folder: Path) -> Path:
    files = dict(good.files("gpt-hf"))
    files[WHOLE] = _damaged_safetensors(random, files[WHOLE])
    return good.write(folder, files)


def _make_shards(random: Random, folder: Path) -> Path:
    files = dict(good.files("gpt-hf"))
    content = files.pop(WHOLE)
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    size = struct.unpack_from("<Q", content)[0]
    header = json.loads(content[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    for half, shard in enumerate(shards):
        own, data = {}, b""
        for name in names[half::2]:
            start, end = header[name]["data_offsets"]
            own[name] = {**header[name], "data_offsets": [len(data), len(data) + end - start]}
            data += content[8 + size + start : 8 + size + end]
        text = json.dumps(own).encode()
        files[shard] = struct.pack("<Q", len(text)) + text + data
    index = {"metadata": {"total_size": len(content)}}
    index["weight_map"] = {name: shards[n % 2] for n, name in enumerate(names)}
    if mutations.chance(random, 0.3):
        victim = random.choice(names)
        odd = (
            "../x",
            "/etc/passwd",
            "x" * 300,
            "",
            ".",
            "a\0b",
            "config.json",
            shards[1],
            "\ud800",
        )
        index["weight_map"][victim] = random.choice((*odd, mutations.odd_value(random)))
        files[INDEX] = json.dumps(index).encode()
    else:
        files[INDEX] = mutations.damaged_json(random, index)
    return good.write(folder, files)


# === The JSON files ===


@cache
def configs() -> dict[str, dict]:
    """Model type -> the config.json of a small one."""
    from modelzoo.weights.mapping import model_values
    from modelzoo.weights.tables import TABLES
    from tests.weights.test_tables import MODELS

    good.keras_side()
    found = {}
    for kind, (name, changes) in MODELS.items():
        recipe, table = registry.recipe(name, changes), TABLES[kind]
        config = table.write_config(model_values(recipe))
        of_class = {"architectures": list(table.heads[recipe.task].classes[:1]), "bos_token_id": 0}
        found[kind] = {**config, **of_class, "eos_token_id": 0, "pad_token_id": 0}
        for one in (found[kind], found[kind].get("text_config", {})):
            if "vocab_size" in one:
                one["vocab_size"] = 1000  # room for any of the tokenizers beside it
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    }
    found["llama3"] = {
        **found["llama"],
        "rope_scaling": {**scaling, "original_max_position_embeddings": 16},
    }
    return found


def _make_config(random: Random, folder: Path) -> Path:
    files = dict(good.files("gpt-hf"))
    config = random.choice(list(configs().values()))
    files["config.json"] = mutations.damaged_json(random, config)
    if random.random() < 0.5:
        del files["generation_config.json"]
    return good.write(folder, files)


_GENERATION = {"temperature": 0.6, "top_p": 0.9, "top_k": 50, "do_sample": True, "num_beams": 1}
_GENERATION |= {"eos_token_id": [0, 2], "repetition_penalty": 1.1, "suppress_tokens": [1, 2]}
_GENERATION |= {"bad_words_ids": [[3]], "forced_bos_token_id": 1, "max_length": 20}
_PREPROCESSOR = {
    "do_resize": True,
    "size": {"height": 12, "width": 12},
    "crop_size": {"height": 12, "width": 12},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
    "feature_size": 80,
    "sampling_rate": 16000,
    "hop_length": 160,
    "chunk_length": 30,
    "n_fft": 400,
    "image_processor_type": "ViTImageProcessor",
    "feature_extractor_type": "ASTFeatureExtractor",
    "mean": -4.2,
    "std": 4.5,
    "max_length": 1024,
    "num_mel_bins": 128,
}
_TOKENIZER = {
    "tokenizer_class": "GPT2Tokenizer",
    "model_max_length": 24,
    "pad_token": "<|endoftext|>",
    "eos_token": {"content": "<|endoftext|>", "special": True, "lstrip": False},
    "bos_token": "<|endoftext|>",
    "added_tokens_decoder": {"0": {"content": "<|endoftext|>", "special": True}},
    "add_prefix_space": False,
    "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
}
_MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
_SMALL = {
    "generation_config.json": _GENERATION,
    "preprocessor_config.json": _PREPROCESSOR,
    "tokenizer_config.json": _TOKENIZER,
    "special_tokens_map.json": {"eos_token": "<|endoftext|>", "pad_token": {"content": "x"}},
    "added_tokens.json": {"<|extra|>": 280, "<|endoftext|>": 0},
    "adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "a/b", "r": 8},
    "modules.json": _MODULES,
    "sentence_bert_config.json": {"max_seq_length": 16, "do_lower_case": False},
    "1_Pooling/config.json": {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True},
    "config_sentence_transformers.json": {"prompts": {}, "default_prompt_name": None},
    "tokenizer.json": {},
}
# The model type that reads each of these files; GPT-2 where it is not said.
_READERS = {"modules.json": "bert", "sentence_bert_config.json": "bert"}
_READERS |= {"1_Pooling/config.json": "bert", "config_sentence_transformers.json": "bert"}


def _make_small_json(random: Random, folder: Path) -> Path:
    files = dict(good.files("gpt-hf"))
    victim = random.choice(list(_SMALL))
    kind = _READERS.get(victim, "gpt2")
    if victim == "preprocessor_config.json":
        media = ("vit", "clip", "siglip", "smolvlm", "whisper", "audio-spectrogram-transformer")
        kind = random.choice(media)
    files["config.json"] = json.dumps(configs()[kind]).encode()
    if kind == "bert":
        bare = {**configs()[kind], "architectures": ["BertModel"]}
        files["config.json"] = json.dumps(bare).encode()
        sentence = ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json")
        files |= {name: json.dumps(_SMALL[name]).encode() for name in sentence}
        files["tokenizer.json"] = good.files("bert")["tokenizer.json"]
        del files["tokenizer_config.json"]
    content = _SMALL[victim] or json.loads(files[victim])
    if victim == "tokenizer_config.json":
        names = (
            "GPT2Tokenizer",
            "BertTokenizer",
            "LlamaTokenizer",
            "T5Tokenizer",
            "WhisperTokenizer",
        )
        names += ("RobertaTokenizer", "PreTrainedTokenizerFast", "CLIPTokenizer", "Qwen2Tokenizer")
        content = {**content, "tokenizer_class": random.choice(names)}
    files[victim] = mutations.damaged_json(random, content)
    return good.write(folder, files)


# === GGUF ===


@cache
def gguf_files() -> dict[str, bytes]:
    """Architecture -> a small file."""
    import tempfile

    from tests.weights.small_gguf import KEYS, write

    good.keras_side()
    with tempfile.TemporaryDirectory() as folder:
        return {arch: write(Path(folder) / "m.gguf", arch).read_bytes() for arch in KEYS}


def _make_gguf(random: Random, folder: Path) -> Path:
    content = random.choice(list(gguf_files().values()))
    header = content.rindex(b"blk.1.")
    return (
        good.write(folder, {"m.gguf": mutations.damaged_bytes(random, content, head=header)})
        / "m.gguf"
    )


# === CTranslate2 ===


@cache
def ctranslate2_file() -> bytes:
    """A small Whisper."""
    from tests.weights.test_ctranslate2 import theirs, whole

    good.keras_side()
    width, wide, rng = 16, 24, np.random.default_rng(0)

    def linear(name: str, rows: int = width, columns: int = width, bias: bool = True) -> None:
        tensors[f"{name}.weight"] = rng.normal(size=(rows, columns)).astype(np.float32)
        if bias:
            tensors[f"{name}.bias"] = rng.normal(size=rows).astype(np.float32)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = np.ones(width, np.float32)
        tensors[f"{name}.bias"] = np.zeros(width, np.float32)

    tensors: dict[str, np.ndarray] = {}
    for side, layers, length in (("encoder", 2, 10), ("decoder", 1, 12)):
        top = f"model.{side}"
        linear(f"{top}.embed_positions", length, bias=False)
        norm(f"{top}.layer_norm")
        for layer in range(layers):
            of = f"{top}.layers.{layer}"
            for block in ("self_attn", "encoder_attn")[: 1 + (side == "decoder")]:
                norm(f"{of}.{block}_layer_norm")
                for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    linear(f"{of}.{block}.{part}", bias=part != "k_proj")
            norm(f"{of}.final_layer_norm")
            linear(f"{of}.fc1", wide)
            linear(f"{of}.fc2", width, wide)
    for name, channels in (("conv1", 80), ("conv2", width)):
        linear(f"model.encoder.{name}")
        tensors[f"model.encoder.{name}.weight"] = np.zeros((width, channels, 3), np.float32)
    linear("model.decoder.embed_tokens", 23, bias=False)
    return whole(theirs(tensors, 2))


def _make_ctranslate2(random: Random, folder: Path) -> Path:
    content = ctranslate2_file()
    config = json.dumps({"suppress_ids": [4, 5], "suppress_ids_begin": [6]}).encode()
    if random.random() < 0.15:
        config = mutations.damaged_json(random, json.loads(config))
    else:
        content = mutations.damaged_bytes(random, content, head=random.choice((64, len(content))))
    return good.write(folder, {"model.bin": content, "config.json": config})


GROUPS = (
    Group("safetensors", "safetensors", _make_safetensors, _use, 700, 20, good.keras_side),
    Group("shards", "index of shards", _make_shards, _use, 400, 20, good.keras_side),
    Group("config", "config.json", _make_config, _use, 1000, 40, configs),
    Group("small-json", "the other small JSON files", _make_small_json, _use, 900, 40, configs),
    Group("gguf", "GGUF", _make_gguf, _use, 800, 20, gguf_files),
    Group(
        "ctranslate2", "CTranslate2 model.bin", _make_ctranslate2, _use, 400, 20, ctranslate2_file
    ),
)
