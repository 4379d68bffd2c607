"""Does the model answer on a device as it does in Keras?"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np

from modelzoo.errors import ExportError, ModelzooError
from modelzoo.files import scratch
from modelzoo.testing.check import not_applicable
from modelzoo.testing.compare import as_tensors, check_equal, flat
from modelzoo.testing.seeds import kept_seeds
from modelzoo.testing.subject import Subject

# Tokens of the text that goes through the cache: a chunk of the prompt, and some one by one.
PROMPT, MORE = 5, 3
# Small sizes, where the model's export_signatures take them: the check is about numbers.
_OPTIONS = {"max_length": 32, "source_length": 16, "windows": (), "prefill_lengths": (16,)}

# (subject, format) -> what the exporting child said.
_answers: dict[tuple[Subject, str], object] = {}


def cached_decode(subject: Subject) -> None:
    """Token by token through `prefill` and `decode`, the logits are those of the whole text."""
    signatures = _signatures(subject)
    if "decode" not in signatures:
        not_applicable(f"{subject.name} has no signature decode: it does not generate")
    model = subject.model
    vocabulary = model.backbone.vocab_size
    ids = np.random.default_rng(0).integers(0, vocabulary, PROMPT + MORE).astype("int32")
    x = {"token_ids": ids[None], "padding_mask": np.ones((1, len(ids)), bool)}
    context = {}
    if "encode" in signatures:
        source = _zeros(signatures["encode"])
        for name, value in source.items():
            if name.endswith("token_ids"):
                rng = np.random.default_rng(1)
                source[name] = rng.integers(0, vocabulary, value.shape).astype("int32")
            elif name.endswith("mask"):
                source[name] = np.ones_like(value)
        context = {**source, **_call(signatures["encode"], source)}
        decoder = {f"decoder_{key}": value for key, value in x.items()}
        x = {**{key: source[key] for key in ("token_ids", "padding_mask")}, **decoder}
    whole = np.asarray(flat(model(as_tensors(x), training=False))["output"])[0]
    rows, state = [], {}
    chunk = next((name for name in signatures if name.startswith("prefill")), None)
    start = 0
    if chunk is not None:
        length = signatures[chunk].inputs["token_ids"].shape[-1]
        start = min(PROMPT, length)
        given = np.full((1, length), -1, np.int32)
        given[0, :start] = ids[:start]
        state = _step(signatures[chunk], given, 0, state, context)
    for position in range(start, len(ids)):
        token = ids[None, position : position + 1]
        state = _step(signatures["decode"], token, position, state, context)
        rows.append(np.asarray(state["logits"]).reshape(-1))
    check_equal(
        {"logits": np.stack(rows)},
        {"logits": whole[start:]},
        f"after {start} tokens through {chunk or 'nothing'}, decode does not give the logits of "
        "the whole text",
        next_step="hold the positions and the mask of step() against those of call()",
    )


def saved_model(subject: Subject) -> None:
    """A SavedModel of all its signatures answers as Keras does."""
    _raise(_exported(subject, "savedmodel"))


def builtins_only(subject: Subject) -> None:
    """LiteRT has all operations that its signatures need."""
    found = _exported(subject, "tflite")
    if isinstance(found, ModelzooError):
        if not _lacks_operation(found):
            not_applicable(f"there is no file to look into: see tflite:{subject.name}")
        raise found


def tflite(subject: Subject) -> None:
    """A TFLite file of all its signatures answers as Keras does, on the runtime that ships."""
    found = _exported(subject, "tflite")
    if _lacks_operation(found):
        not_applicable(f"it cannot be converted: see builtins:{subject.name}")
    _raise(found)


def _raise(found: object) -> None:
    if isinstance(found, Exception):
        raise found


def _lacks_operation(found: object) -> bool:
    """Whether an export ended over an operation: the converter's refusal, or the file's check."""
    if not isinstance(found, ExportError):
        return False
    advice = found.next_step or ""
    return found.what.startswith("LiteRT has no operation") or "builtin operations" in advice


# === The export ===


def _exported(subject: Subject, format: str) -> object:
    """The answer of the child that exported and verified, or its error. Both formats share it."""
    _signatures(subject)
    if subject.task is None:
        not_applicable(f"{subject.name} has no task, so no bundle")
    if (subject, format) not in _answers:
        export_together([(subject, format) for format in ("savedmodel", "tflite")])
    return _answers[subject, format]


def export_together(pairs: Sequence[tuple[Subject, str]]) -> None:
    """Export and verify each subject in a format, all in one child process, and keep the answers.

    Most of the time of a small export is that of starting TensorFlow.
    """
    from modelzoo.exporting.process import child

    with scratch() as home:
        jobs = []
        for number, (subject, format) in enumerate(pairs):
            folder = home / str(number)
            (folder / "bundle").mkdir(parents=True)
            jobs.append(
                {
                    "job": "export",
                    "model": str(subject.saved(folder)),
                    "folder": str(folder / "bundle"),
                    "name": subject.name,
                    "format": format,
                    "quantize": "float32",  # the answers are compared to the last digits
                    "options": _options(subject),
                    "quantization": {},
                    "registrations": child.registrations(subject.small, format),
                }
            )
        _answers.update(zip(pairs, child.run_all(jobs), strict=True))


def _options(subject: Subject) -> dict:
    """The small sizes that the model's `export_signatures` takes and its author did not choose."""
    takes = inspect.signature(subject.model.export_signatures).parameters
    longest = getattr(getattr(subject.model, "backbone", None), "max_length", None)
    found = {key: value for key, value in _OPTIONS.items() if key in takes}
    for key in ("max_length", "source_length"):
        if key in found and longest is not None:
            found[key] = min(found[key], longest)
    return {key: list(v) if isinstance(v, tuple) else v for key, v in found.items()}


def _signatures(subject: Subject) -> dict:
    model = subject.model
    if not hasattr(model, "export_signatures"):
        not_applicable(
            f"{type(model).__name__} has no export_signatures(), so nobody knows what it does on "
            "a device"
        )
    with kept_seeds():
        return model.export_signatures(**_options(subject))


# === A signature, called in Keras ===


def _zeros(signature) -> dict[str, np.ndarray]:
    return {key: np.zeros(spec.shape, spec.dtype) for key, spec in signature.inputs.items()}


def _call(signature, arrays: dict) -> dict:
    from modelzoo.exporting.verification.verify import run_in_keras

    return run_in_keras(signature, arrays)


def _step(signature, token_ids: np.ndarray, start: int, state: dict, context: dict) -> dict:
    """One call of `prefill` or `decode`: the state goes in by name, and comes out."""
    positions = start + np.arange(token_ids.shape[1], dtype=np.int32)[None]
    known = {**context, **state, "token_ids": token_ids, "positions": positions}
    arrays = {key: known[key] for key in signature.inputs if key in known}
    return _call(signature, arrays)
