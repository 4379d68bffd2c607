"""The format `litertlm`: one file for LiteRT-LM, which runs decoders on phones and desktops.

`model.litertlm` holds the TFLite graph of the format `tflite`, the tokenizer, the chat template and
the tokens that end a text. S slots of the window, T tokens of a prefill chunk.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelzoo.errors import ExportError, require
from modelzoo.exporting.bundle.readme_code import program
from modelzoo.exporting.formats import tflite
from modelzoo.exporting.formats.artifact import Artifact
from modelzoo.exporting.formats.format import Format
from modelzoo.exporting.quantization.precision import Mode
from modelzoo.signature import Signature, TensorSpec

NAME = "model.litertlm"
# Put before a template. LiteRT-LM gives each message's content as a list of parts, such as
# {"type": "text", "text": "Hello"}; most templates were written for strings, and fail or print the
# list.
AS_STRINGS = (
    "{%- set strings = namespace(messages=[]) %}{% for message in messages %}"
    "{% if message.content is defined and message.content is sequence and message.content is not "
    "string and message.content | rejectattr('type', 'equalto', 'text') | list | length == 0 %}"
    "{% set text = message.content | map(attribute='text') | join('') %}"
    "{% set strings.messages = strings.messages + [dict(message, content=text)] %}"
    "{% else %}{% set strings.messages = strings.messages + [message] %}{% endif %}"
    "{% endfor %}{% set messages = strings.messages %}"
)
_INSTEAD = "--format tflite, which modelzoo's own runtime runs, takes every model"


def export(
    model, signatures: Mapping[str, Signature], folder: Path, *, mode: Mode, scratch: Path
) -> Artifact:
    """Write `model.litertlm`; see `exporting.formats.artifact`.

    The artifact's engine runs the packed graph, after LiteRT-LM itself has written Keras' text.

    Raises:
        ExportError: no decoder with a key/value cache, no tokenizer, or what `tflite.export` finds.
        MissingDependencyError: without the packages of the extra `litertlm`.
    """
    packed = packable(signatures, type(model).__name__)
    check_tokenizer(model)
    for package in ("litert_lm_builder", "litert_lm"):
        require(package, "litertlm")
    parts = scratch / "litertlm"
    parts.mkdir(parents=True)
    inner = tflite.export(model, packed, parts, mode=mode, scratch=scratch)
    model.tokenizer.save(parts / "tokenizer.json")
    window = slots_of(signatures["decode"])
    pack(parts / inner.model, parts / "tokenizer.json", metadata(model, window), folder / NAME)
    shutil.rmtree(parts)
    facts = {**inner.facts, "tflite_bytes": inner.facts["bytes"]}
    facts["bytes"] = (folder / NAME).stat().st_size
    return _artifact(model, packed, window, mode, facts)


def reopen(model, signatures: Mapping[str, Signature], mode: Mode) -> Artifact:
    """The artifact of a file that is there already, to verify it once more."""
    require("litert_lm", "litertlm")
    packed = packable(signatures, type(model).__name__)
    return _artifact(model, packed, slots_of(signatures["decode"]), mode, {})


def _artifact(model, packed, window: int, mode: Mode, facts: dict) -> Artifact:
    def engine(bundle):
        from modelzoo.exporting.formats.litertlm_check import compare_text
        from modelzoo.runtime.engines.packed import PackedEngine

        opened = PackedEngine(bundle, window=window)
        facts["litert_lm"] = compare_text(bundle.model_path, model, opened, window, mode)
        return opened

    return Artifact(NAME, facts, engine=engine, signatures=packed)


# === What goes in ===


def check_tokenizer(model) -> None:
    """LiteRT-LM reads and writes text only, and must know where one ends.

    Raises:
        ExportError: no tokenizer, no token that ends a text, or several that begin one.
    """
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None:
        raise ExportError(
            "LiteRT-LM reads text, and this model has no tokenizer",
            next_step="build the model with one (modelzoo build NAME --tokenizer PATH); or "
            + _INSTEAD,
        )
    if not tokenizer.stop_tokens:
        raise ExportError(
            "LiteRT-LM needs a token that ends a text, and the tokenizer has no eos",
            next_step=_INSTEAD,
        )
    if len(tokenizer.prefix) > 1:
        raise ExportError(
            f"the tokenizer begins every text with {len(tokenizer.prefix)} tokens, and LiteRT-LM "
            "puts one there at most",
            next_step=_INSTEAD,
        )


def packable(signatures: Mapping[str, Signature], name: str = "the model") -> dict[str, Signature]:
    """`decode` and the `prefill*` of the full window, each over caches with some slots to spare.

    LiteRT-LM fills the last chunk of a prompt up to T tokens, wherever in the window it begins, and
    fails where the filling passes the last slot. So the caches get T slots that no text reaches;
    chunks of more than an eighth of the window, which would make that dear, are left out.

    Raises:
        ExportError: another kind of model.

    Example:
        >>> model = modelzoo.load("my-gpt")
        >>> list(packable(model.export_signatures(max_length=32, prefill_lengths=[4, 16])))
        ['prefill_4', 'decode']
    """
    decode = signatures.get("decode")
    what = f"LiteRT-LM runs decoders with a key/value cache, and {name}"
    if decode is None:
        raise ExportError(f"{what} has {', '.join(signatures)}", next_step=_INSTEAD)
    if "encode" in signatures:
        raise ExportError(f"{what} reads through an encoder", next_step=_INSTEAD)
    caches = {key for key in decode.inputs if key.startswith("kv_cache_")}
    if "kv_cache_k_0" not in caches:
        raise ExportError(f"{what} carries another state", next_step=_INSTEAD)
    if any("_scale_" in key for key in caches):
        raise ExportError(
            "LiteRT-LM knows no cache with factors, and export.kv_cache is int8",
            next_step=f"leave export.kv_cache out, or {_INSTEAD}",
        )
    others = set(decode.inputs) - caches - {"token_ids", "positions"}
    if others:
        raise ExportError(
            f"LiteRT-LM gives tokens, positions and caches, and decode needs {min(others)!r} too",
            next_step=_INSTEAD,
        )
    window = slots_of(decode)
    prefills = {
        key: _tokens(signature)
        for key, signature in signatures.items()
        if key.startswith("prefill") and slots_of(signature) == window
    }
    if not prefills:
        raise ExportError(f"{what} has no prefill signature", next_step=_INSTEAD)
    longest = max(window // 8, min(prefills.values()))
    spare = max(tokens for tokens in prefills.values() if tokens <= longest)
    names = {"decode", *(key for key, tokens in prefills.items() if tokens <= longest)}
    return {key: _widened(signatures[key], spare) for key in signatures if key in names}


def slots_of(signature: Signature) -> int:
    """S of a signature with caches."""
    return signature.inputs["kv_cache_k_0"].shape[2]


def _tokens(signature: Signature) -> int:
    return signature.inputs["token_ids"].shape[1]


def _widened(signature: Signature, spare: int) -> Signature:
    """The same function over caches of S + `spare` slots."""

    def widened(name: str, spec: TensorSpec) -> TensorSpec:
        if not name.startswith("kv_cache_"):
            return spec
        shape, axis = list(spec.shape), 2 if name.startswith("kv_cache_k") else 3
        shape[axis] += spare
        return TensorSpec(tuple(shape), spec.dtype)

    inputs = {name: widened(name, spec) for name, spec in signature.inputs.items()}
    return replace(signature, inputs=inputs)


def metadata(model, window: int) -> Any:
    """LiteRT-LM's protocol buffer: the window, where texts begin and end, the chat template."""
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    tokenizer, data = model.tokenizer, llm_metadata_pb2.LlmMetadata()
    data.max_num_tokens = window
    data.llm_model_type.generic_model.SetInParent()
    for token in tokenizer.prefix:
        data.start_token.token_ids.ids.append(token)
    for token in sorted(tokenizer.stop_tokens):
        data.stop_tokens.add().token_ids.ids.append(token)
    if getattr(model, "chat_template", None):
        data.jinja_prompt_template = AS_STRINGS + model.chat_template
    return data


# === The file ===


def pack(graph: Path, tokenizer: Path, data, path: Path) -> None:
    """Write `path` out of a TFLite file, a tokenizer.json and the `metadata`."""
    from litert_lm_builder import litertlm_builder

    written = graph.with_name("metadata.pb")
    written.write_bytes(data.SerializeToString())
    builder = litertlm_builder.LitertLmFileBuilder()
    builder.add_llm_metadata(str(written))
    builder.add_hf_tokenizer(str(tokenizer))
    builder.add_tflite_model(str(graph), litertlm_builder.TfLiteModelType.PREFILL_DECODE)
    with open(path, "wb") as file:
        builder.build(file)


# === The README ===


def _programs(manifest: Mapping) -> str:
    """Python with LiteRT-LM: a chat where there is a template, else a text that goes on."""
    chats = "chat_template" in (manifest["tokenizer"] or {})
    how = (
        "`pip install litert-lm-api`. Kotlin, Swift and C++ open the same file with "
        "[LiteRT-LM](https://github.com/google-ai-edge/LiteRT-LM)."
    )
    code = _PYTHON + (_PYTHON_CHAT if chats else _PYTHON_TEXT)
    return program("Python, with LiteRT-LM", "python", code, manifest, how)


def _driving(manifest: Mapping) -> str:
    return (
        f"- LiteRT-LM does it all: `{manifest['model']}` holds the graph, the tokenizer, the "
        "chat template and the tokens that end a text.\n"
        f"- A text has {manifest['max_length']} tokens at most. The caches have slots to spare "
        "after that, for the filling of a prompt's last chunk."
    )


_PYTHON = """
import litert_lm

# With a directory as cache_dir, the next start is faster; else it writes next to the model.
engine = litert_lm.Engine("<MODEL>", cache_dir=":nocache")
greedy = litert_lm.SamplerConfig(top_k=1)
"""
_PYTHON_CHAT = """\
with engine.create_conversation(sampler_config=greedy, max_output_tokens=40) as conversation:
    message = conversation.send_message("What is the capital of France?")
    print("".join(part["text"] for part in message["content"]))
"""
_PYTHON_TEXT = """\
with engine.create_session(
    apply_prompt_template=False, sampler_config=greedy, max_output_tokens=20
) as session:
    session.run_prefill(["In the beginning"])
    for part in session.run_decode_async():
        print(part.texts[0], end="", flush=True)
print()
"""

FORMAT = Format(
    "litertlm",
    tflite.PRECISIONS,
    tflite.DEFAULT,
    engine="litert-lm-api",
    readme=_programs,
    driving=_driving,
    reopen=reopen,
)
