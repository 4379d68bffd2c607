"""Every export of this room's tests is done once, in two child processes side by side."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import pytest

import modelzoo
from modelzoo import recipe, registry
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.exporting.process import child
from modelzoo.registry import components
from modelzoo.tasks.profile import said
from tests.core import randomise
from tests.once import once

TEXTS = [
    "the river was low that summer and the boys walked across it " * 3,
    "清晨的雾还没有散 " * 5,
]
VOCAB = 300

_ONE = {"num_layers": 1, "hidden_dim": 32, "num_heads": 4, "max_length": 40}
_SEQ = {**_ONE, "ffn_dim": 64}
_LLAMA = {
    "num_layers": 2,
    "num_kv_heads": 2,
    "positions": "rotary",
    "norm": "rms",
    "activation": "silu",
    "gated": True,
    "attention_bias": False,
    "ffn_bias": False,
    "attention_softcap": 20.0,
    "logit_softcap": 30.0,
    # As no single model has them: all that rotary positions can be.
    "attention_pattern": ["local", "global"],
    "sliding_window": 12,
    "rotary_fraction": 0.75,
    "rotary_pattern": [True, False],
    "rotary_scaling": {
        "type": "longrope",
        "factor": 2.0,
        "original_max_length": 20,
        "short_factor": [1.0, 1.5, 2.0],
        "long_factor": [1.5, 2.5, 4.0],
    },
}
# What GPT-J, StableLM, OPT-350M, Granite and OLMo 2 have besides.
_PARALLEL = {
    "positions": "rotary",
    "rotary_fraction": 0.5,
    "parallel_residual": True,
    "shared_norm": True,
    "qk_norm": True,
    "qk_norm_heads": "separate",
    "qk_norm_bias": False,
    "embedding_dim": 24,
    "embedding_scale": 2.0,
    "residual_scale": 0.5,
    "logit_scale": 0.25,
    "tie_embeddings": False,
    "head_bias": True,
}
_OUTPUT_NORMS = {
    "position_offset": 2,
    "num_kv_heads": 2,
    "norm": "rms",
    "norm_position": "output",
    "qk_norm": True,
    "qk_norm_heads": "joint",
    "gated": True,
    "embedding_dim": 24,
}
# Marian's positions and bias in Pegasus' blocks; ALBERT's layers with MPNet's positions.
_MARIAN = {
    "positions": "sine_halves",
    "position_offset": 0,
    "norm_position": "pre",
    "embedding_norm": False,
    "scale_embedding": True,
    "logit_bias": True,
}
_ALBERT = {"num_layers": 3, "embedding_dim": 24, "share_layers": True, "relative_buckets": 8}
_EXPERTS = {
    **{"num_layers": 2, "ffn_bias": False, "gated": True, "activation": "silu"},
    "experts": {
        **{"count": 4, "top_k": 2, "ffn_dim": 48, "shared_dim": 16, "shared_gate": True},
        **{"pattern": [False, True], "capacity": 1.25, "jitter": 0.1},
    },
}
_RECURRENT = {"embedding_dim": 24, "hidden_dims": [32, 24]}

# family -> architecture, task, [model], export options
FAMILIES = {
    "gpt": (
        "gpt",
        "causal-lm",
        {**_ONE, "num_layers": 2, "max_length": 64},
        {"prefill_lengths": [8], "max_length": 48, "windows": [16]},
    ),
    "llama": ("gpt", "causal-lm", {**_ONE, **_LLAMA}, {"prefill_lengths": [8]}),
    "parallel": ("gpt", "causal-lm", {**_ONE, **_PARALLEL}, {"prefill_lengths": [8]}),
    "output norms": (
        "gpt",
        "causal-lm",
        {**_ONE, **_OUTPUT_NORMS},
        {"prefill_lengths": [8], "fused_attention": True},
    ),
    "experts": ("gpt", "causal-lm", {**_ONE, **_EXPERTS}, {"prefill_lengths": [8]}),
    "relative": ("gpt", "causal-lm", {**_ONE, "positions": "relative"}, {"prefill_lengths": [16]}),
    "lstm": (
        "recurrent",
        "causal-lm",
        {**_RECURRENT, "tie_embeddings": True},
        {"prefill_lengths": [3]},
    ),
    "gru": ("recurrent", "causal-lm", {**_RECURRENT, "cell": "gru"}, {"prefill_lengths": [3]}),
    "t5": ("t5", "seq2seq-lm", {**_SEQ, "head_dim": 16, "num_heads": 2}, {"source_length": 24}),
    "bart": ("bart", "seq2seq-lm", _SEQ, {"prefill_lengths": [4]}),
    "transformer": ("transformer", "seq2seq-lm", _SEQ, {}),
    "marian": ("bart", "seq2seq-lm", {**_SEQ, **_MARIAN}, {"prefill_lengths": [4]}),
    "albert": ("bert", "masked-lm", {**_ONE, **_ALBERT}, {"max_length": 24}),
    "bert": ("bert", "masked-lm", _ONE, {}),
    "bert classifier": ("bert", "text-classification", _ONE, {"max_length": 24}),
    "embedder": ("bert", "text-embedding", _ONE, {}),
    "gpt classifier": ("gpt", "text-classification", _ONE, {}),
}
FLOAT16 = ("gpt", "t5")
INT8 = ("gpt", "parallel", "experts", "output norms", "lstm", "t5", "bert classifier", "embedder")
INT4 = ("calm", "embedder")
SAVED_MODELS = ("gpt", "experts", "bert classifier")

_MODULE = '''\
"""Models of the tests' own, which do on a device what a model should not."""

import keras
from keras import ops

from modelzoo.signature import Signature, TensorSpec
from modelzoo.tasks.base import Task, TaskModel


@keras.saving.register_keras_serializable("own")
class Own(TaskModel):
    def __init__(self, backbone, **kwargs):
        super().__init__(backbone, **kwargs)
        self.wobble = Wobble(name="wobble")
        self.square = self.add_weight(shape=(64, 64), name="square")
        self.built = True

    def hidden(self, inputs):
        return self.backbone(inputs["token_ids"], training=False)

    def signature(self, function):
        tensors = {"token_ids": TensorSpec((1, 8), "int32")}
        return {"serve": Signature(lambda inputs: {"hidden": function(inputs)}, tensors)}


class Wobble(keras.layers.Layer):
    def call(self, x):
        return ops.qr(x)[0]


@keras.saving.register_keras_serializable("own")
class Plain(Own):
    def export_signatures(self):
        return self.signature(self.hidden)


@keras.saving.register_keras_serializable("own")
class Shaky(Own):
    def export_signatures(self):
        return self.signature(lambda inputs: self.wobble(self.hidden(inputs)))


@keras.saving.register_keras_serializable("own")
class Twice(Own):
    def export_signatures(self):
        def function(inputs):
            x = self.hidden(inputs)
            return ops.matmul(x, self.square) + ops.matmul(ops.relu(x), self.square * 0.5)

        return self.signature(function)


@keras.saving.register_keras_serializable("own")
class Silent(Own):
    """Says nothing about devices."""


class PlainTask(Task):
    kind = Plain

    def model(self, backbone):
        return self.kind(backbone)


class ShakyTask(PlainTask):
    kind = Shaky


class TwiceTask(PlainTask):
    kind = Twice


class SilentTask(PlainTask):
    kind = Silent
'''
OWN = ("plain", "shaky", "twice", "silent")


@dataclass
class Exports:
    """What the child answered to each job, and where things are."""

    directory: Path
    answers: dict

    def __getstate__(self) -> dict:
        causes = {key: getattr(one, "__cause__", None) for key, one in self.answers.items()}
        return {**vars(self), "causes": causes}

    def __setstate__(self, state: dict) -> None:
        causes = state.pop("causes")  # pickled for themselves: an exception leaves its cause behind
        vars(self).update(state)
        for key, cause in causes.items():
            if cause is not None:
                self.answers[key].__cause__ = cause

    def model(self, name: str) -> Path:
        return self.directory / "models" / name

    def bundle(self, name: str, kind: str = "tflite") -> Path:
        return self.directory / kind / name

    def __getitem__(self, key):
        answer = self.answers[key]
        if isinstance(answer, modelzoo.ModelzooError):
            raise answer
        return answer

    def error(self, key) -> modelzoo.ModelzooError:
        assert isinstance(self.answers[key], modelzoo.ModelzooError), f"{key} was exported"
        return self.answers[key]


def make(name, architecture: str, task: str, values: dict, seed: int = 0, scale: float = 0.15):
    """A small random model with a tokenizer, no weight of which is zero or one."""
    table = {"architecture": architecture, "task": task}
    table["model"] = {"vocab_size": VOCAB, **values}
    if task == "text-classification":
        table["task_options"] = {"labels": ["bad", "good", "so-so"]}
    specials = said(task, "special_tokens")
    tokenizer = train_tokenizer(TEXTS, kind="bpe", vocab_size=VOCAB, specials=specials)
    found = recipe.from_values(table, name=name.replace(" ", "-"))
    return randomise(modelzoo.build(found, tokenizer=tokenizer, compile=False), seed, scale=scale)


def crushed(model):
    """Each output of a matrix has one huge weight, whose input is always 0: 8 bits have no room
    for the others."""
    ffn = model.backbone.stack.blocks[1].ffn
    convert = keras.ops.convert_to_numpy
    bias, kernel = convert(ffn.up.bias).copy(), convert(ffn.down.kernel).copy()
    bias[0], kernel[0] = -50, 1e4
    ffn.up.bias.assign(bias)
    ffn.down.kernel.assign(kernel)
    return model


@pytest.fixture(scope="session")
def exports(tmp_path_factory) -> Exports:
    """Runs every export; see `Exports`. Keys are (family, kind)."""
    return once(tmp_path_factory, "exports", run_all)


def run_all(directory: Path) -> Exports:
    result = Exports(directory, {})
    patch = pytest.MonkeyPatch()
    patch.setenv("MODELZOO_PLUGINS", "")
    patch.syspath_prepend(directory)
    patch.setattr(components, "_registered", {group: {} for group in components.CORE})
    try:
        _save_models(result, directory)
        jobs = dict(_jobs(result))
        tiny = _tiny_disk(directory / "tiny")
        if tiny is not None:
            jobs["gpt", "full disk"] = _export(result, "gpt", "tiny", folder=tiny)
        try:
            # A bundle is verified by the child that wrote it.
            halves = [[key for key in jobs if ("gpt" in key[0]) == gpt] for gpt in (True, False)]
            with ThreadPoolExecutor(2) as pool:
                lists = pool.map(child.run_all, [[jobs[key] for key in half] for half in halves])
                for half, answers in zip(halves, lists, strict=True):
                    result.answers.update(zip(half, answers, strict=True))
        finally:
            if tiny is not None:
                subprocess.run(["umount", tiny], check=True)
    finally:
        patch.undo()
    return result


def _save_models(result: Exports, directory: Path) -> None:
    for name, (architecture, task, values, _) in FAMILIES.items():
        modelzoo.save(make(name, architecture, task, values), result.model(name))
    gpt = FAMILIES["gpt"]
    modelzoo.save(make("gpt", *gpt[:3], seed=1), result.model("other gpt"))
    # Large random weights in layers as small as these are too much for 4 bits.
    modelzoo.save(make("calm", *FAMILIES["llama"][:3], scale=0.05), result.model("calm"))
    experts = _EXPERTS | {"experts": _EXPERTS["experts"] | {"ffn_dim": 64}}
    modelzoo.save(
        make("calm experts", "gpt", "causal-lm", {**_ONE, **experts}, scale=0.05),
        result.model("calm experts"),
    )
    modelzoo.save(crushed(make("gpt", *gpt[:3])), result.model("crushed"))
    nan = make("gpt", *gpt[:3])
    nan.weights[3].assign(nan.weights[3] * float("nan"))
    modelzoo.save(nan, result.model("nan"))
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        modelzoo.save(make("bert", *FAMILIES["bert"][:3]), result.model("mixed"))
    finally:
        keras.config.set_dtype_policy(policy)

    (directory / "own_models.py").write_text(_MODULE, encoding="utf-8")
    import own_models

    for name in OWN:
        registry.register(name, task=getattr(own_models, f"{name.title()}Task"))
        modelzoo.save(make(name, "gpt", name, {**_ONE, "hidden_dim": 64}), result.model(name))
    del sys.modules["own_models"]


def _jobs(result: Exports):
    for name in FAMILIES:
        yield (name, "tflite"), _export(result, name, "tflite")
    yield ("calm", "tflite"), _export(result, "calm", "tflite")
    for name in FLOAT16:
        yield (name, "float16"), _export(result, name, "float16", quantize="float16")
    for mode, names in (("int8", INT8), ("int4", INT4)):
        for name in names:
            yield (name, mode), _export(result, name, mode, quantize=mode)
    yield ("calm experts", "int4"), _export(result, "calm experts", "int4", quantize="int4")
    yield ("crushed", "int8"), _export(result, "crushed", "int8", quantize="int8")
    for key, layers in (
        ("kept", {"block_*/ffn/down": "int8", "attention/value": "float32"}),
        ("unknown", {"block_9/ffn/down": "int8"}),
        ("odd", {"ffn/down": "int7"}),
    ):
        chosen = {"quantization": {"layers": layers}}
        yield ("calm", key), _export(result, "calm", key, quantize="int4", **chosen)
    for name, quantize in (
        ("gpt", "int8"),
        ("parallel", "int8"),
        ("calm", "int4"),
        ("t5", "int8"),
    ):
        options = {**(FAMILIES[name][3] if name in FAMILIES else {}), "kv_cache": "int8"}
        job = {"quantize": quantize, "options": options}
        yield (name, "int8 cache"), _export(result, name, "cache", **job)
    for key, name, changes in (
        ("cache in float32", "gpt", {}),
        ("no cache", "lstm", {"quantize": "int8"}),
        ("odd cache", "gpt", {"options": {"kv_cache": "int7"}}),
    ):
        job = {"options": {"kv_cache": "int8"}, **changes}
        yield (name, key), _export(result, name, key, **job)
    for name in SAVED_MODELS:
        yield (name, "savedmodel"), _export(result, name, "savedmodel", format="savedmodel")
    for name in ("mixed", "nan"):
        yield (name, "tflite"), _export(result, name, "tflite")
    for name in OWN:
        target = f"own_models:{name.title()}Task"
        entries = [{"kind": "task", "name": name, "target": target}]
        yield (name, "tflite"), _export(result, name, "tflite", registrations=entries)
    for key, options in (
        ("misspelt", {"max_lenght": 16}),
        ("text", {"max_length": "long"}),
        ("zero", {"prefill_lengths": [0]}),
        ("too long", {"max_length": 65}),
    ):
        yield ("gpt", key), _export(result, "gpt", key, options=options)
    bundle = str(result.bundle("gpt"))
    for name in ("gpt", "other gpt"):
        model = str(result.model(name))
        yield (name, "verify"), {"job": "verify", "bundle": bundle, "model": model}


def _export(result: Exports, name: str, kind: str, folder=None, **changes) -> dict:
    folder = result.bundle(name, kind) if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "job": "export",
        "model": str(result.model(name)),
        "folder": str(folder),
        "name": name,
        "format": "tflite",
        "quantize": "float32",
        "options": FAMILIES[name][3] if name in FAMILIES else {},
        **changes,
    }


def _tiny_disk(path: Path) -> Path | None:
    """A file system of 256 KiB, where this process may mount one."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", path]
    try:
        done = subprocess.run(command, capture_output=True)
    except OSError:
        return None
    return path if done.returncode == 0 else None
