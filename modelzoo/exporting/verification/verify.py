"""Does the bundle, on the runtime that ships, answer as the Keras model does? Runs in the child.

V vocabulary, L tokens of the text that is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

from modelzoo.errors import ExportError
from modelzoo.exporting.quantization.precision import EXACT, Mode
from modelzoo.exporting.verification import quality as held_out
from modelzoo.exporting.verification.first_layer import compare_layers, first_difference
from modelzoo.exporting.verification.parity import Difference, complaint, difference
from modelzoo.exporting.verification.samples import (
    Samples,
    grown,
    inputs_for,
    signature_calls,
)
from modelzoo.runtime.abilities.media import INPUTS
from modelzoo.runtime.abilities.sources import media_kinds
from modelzoo.runtime.generation.loop import generate_tokens
from modelzoo.runtime.generation.prefill import prefill
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.runtime.generation.steppers import Stepper
from modelzoo.signature import Signature

# Prompt tokens and tokens to generate; the first begins in English, the second in Chinese.
GREEDY = ((24, 200), (12, 40))
MAX_TIES = 8
# Of the places where `verify` must choose as `decode` does; sums in another order may turn ties.
LEAST_SAME = 0.95


def verify(
    engine,
    model: keras.Model,
    signatures: Mapping[str, Signature],
    tokenizer,
    mode: Mode,
    progress: Callable[[str], None] = lambda step: None,
    bundle=None,
) -> dict:
    """Hold every signature, and generation as a whole, against Keras.

    Args:
        engine: a bundle's, from the runtime.
        signatures: what was exported, of this model.
        bundle: the `runtime.Model` over the engine, where there is one.

    Returns:
        The figures: `signatures`, for what generates `generation`, and in a quantized mode
        `held_out`, what it costs the task.

    Raises:
        ExportError: what differs, by how much, and how much is allowed.
    """
    check_names(engine.signatures, signatures)
    backbone = getattr(model, "backbone", None)
    sizes = (getattr(backbone, name, None) for name in ("vocab_size", "max_length"))
    samples = Samples(tokenizer, *sizes)
    progress("comparing each signature with Keras")
    figures: dict = {"signatures": {}}
    complaints = []
    for name, outputs in compare_signatures(engine, signatures, samples, mode).items():
        figures["signatures"][name] = {key: d.as_json(mode) for key, d in outputs.items()}
        complaints += [complaint(f"{name}: {key}", d, mode) for key, d in outputs.items()]
    refuse(complaints, mode)
    if "decode" in signatures:
        progress("comparing generation with Keras")
        generation = Generation(engine, model, samples, tokenizer, mode)
        figures["generation"] = generation.check()
        for kind in media_kinds(engine.signatures):
            other = Generation(engine, model, samples, tokenizer, mode, f"encode_{kind}")
            figures[f"generation_{kind}"] = other.check()
    if mode.quantized:
        progress("comparing answers to held-out text with float32")
        if "decode" in signatures:
            measured = held_out.language_model(generation, tokenizer, mode)
        else:
            measured = bundle and held_out.encoder(bundle, model, mode)
        if measured:
            figures["held_out"] = measured
            refuse([held_out.complaint(measured)], mode)
    return figures


def check_names(found: Mapping, signatures: Mapping[str, Signature]) -> None:
    """Names and static shapes of the inputs must have come through the conversion."""
    for name, signature in signatures.items():
        if name not in found:
            raise ExportError(f"signature {name} is missing from the file")
        shapes = {key: tuple(spec.shape) for key, spec in signature.inputs.items()}
        # An input that nothing reads is left out by a converter, and a device need not give it.
        kept = {key: tensor.shape for key, tensor in found[name].inputs.items()}
        wrong = [key for key, shape in kept.items() if shapes.get(key) != shape]
        if wrong:
            raise ExportError(
                f"input {wrong[0]} of signature {name} is {kept[wrong[0]]} in the file, and "
                f"{shapes.get(wrong[0], 'unknown')} in the model"
            )


def refuse(complaints: list[str | None], mode: Mode) -> None:
    """Raise what is wrong, the first five of it."""
    wrong = [text for text in complaints if text]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ExportError(
            f"the bundle does not answer as Keras does: {'; '.join(wrong[:5])}{more}",
            next_step=_advice(mode),
        )


def _advice(mode: Mode) -> str:
    if mode.name == "int4":
        return "export with --quantize int8, or keep the layers that need it in 8 bits ([quantize])"
    if mode.name != EXACT:
        return f"export with --quantize {EXACT}"
    return "is it another model? If not, report it together with the recipe"


def located(error, reference: Path, found: Path, engine, model, mode: Mode) -> ExportError:
    """The error of a quantized file, with the layer at which it leaves its float32 twin.

    Args:
        reference, found: the float32 and the quantized file.
    """
    name = next((key for key in ("decode", "serve", "embed") if key in engine.signatures), None)
    name = name or next(iter(engine.signatures))
    samples = Samples(None, getattr(getattr(model, "backbone", None), "vocab_size", None))
    inputs, _ = inputs_for(engine.signatures[name], samples, {})
    names = {layer.name for layer in model._flatten_layers()}
    first = first_difference(compare_layers(reference, found, name, inputs, names), mode.min_cosine)
    if first is None:
        return error
    return ExportError(
        f"{error.what}; in {name} the first layer to differ from float32 is {first.path} (cosine "
        f"{first.cosine:.5f})",
        where=error.where,
        next_step=f'{error.next_step}: --set \'quantize.layers={{"{first.path}" = "int8"}}\''
        if mode.name == "int4"
        else error.next_step,
    )


def compare_signatures(
    engine, signatures: Mapping[str, Signature], samples: Samples, mode: Mode
) -> dict[str, dict[str, Difference]]:
    """The worst difference of each output of each signature, over a few texts."""
    worst: dict[str, dict[str, Difference]] = {name: {} for name in signatures}
    infos = {name: engine.signatures[name] for name in signatures}
    states = {key for info in infos.values() for key in info.inputs}
    kept: dict[str, np.ndarray] = {}
    calls = signature_calls(infos, samples)
    name, arrays = next(calls)
    while True:
        right = run_in_keras(signatures[name], arrays)
        found = engine.run(
            name, {**arrays, **_own_state(arrays, kept)} if mode.quantized else arrays
        )
        kept.update({key: value for key, value in found.items() if key in states})
        for key, value in right.items():
            if key in states and mode.quantized:
                continue  # smoothing scales it; what comes of it is held, in generation
            if key not in found:
                raise ExportError(f"output {key} of signature {name} is missing from the file")
            if not np.isfinite(value).all():
                raise ExportError(
                    f"the model itself gives no number (nan or infinite): {name}, {key}",
                    next_step="look at the loss that it was trained to",
                )
            found_here = difference(found[key], value, key in states)
            worst[name][key] = found_here.worse(worst[name].get(key))
        try:
            name, arrays = calls.send(right)
        except StopIteration:
            return worst


def _own_state(arrays: Mapping, kept: Mapping) -> dict[str, np.ndarray]:
    """The bundle's own state in the place of Keras': smoothing scales values, and with them the
    matrices that read them."""
    own = {key: grown(kept.get(key), value.shape) for key, value in arrays.items() if value.any()}
    return {key: value for key, value in own.items() if value is not None}


def run_in_keras(signature: Signature, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The signature's own function on the model, with numpy in and out."""
    inputs = {
        key: keras.ops.convert_to_tensor(arrays[key], spec.dtype)
        if key in arrays
        else keras.ops.zeros(spec.shape, spec.dtype)
        for key, spec in signature.inputs.items()
    }
    outputs = signature.function(inputs)
    return {key: keras.ops.convert_to_numpy(value) for key, value in outputs.items()}


class Generation:
    """The checks of what generates: the state that grows in place, against whole texts in Keras.

    Args (the others as in `verify`):
        encoder: the signature that reads the source, where one does.

    Attributes:
        source: what the model looks at while it writes: the inputs of `encode`, or those of
            `prefill_image` without the state.
        frames: of a source with an image or a video (1, F, H, W, 3), or `None`.
        kept: positions that an image takes, before those of the tokens that are compared.
        window: tokens that fit after them.
    """

    def __init__(
        self, engine, model, samples: Samples, tokenizer, mode: Mode, encoder: str = "encode"
    ):
        self.engine, self.model, self.samples, self.mode = engine, model, samples, mode
        self.source, self.source_ids, self.kept, first = None, None, 0, []
        self.frames = None
        look = next((name for name in engine.signatures if name.startswith("prefill_image")), None)
        if encoder in engine.signatures:
            self._read_source(tokenizer, encoder)
            first = [samples.pad]
        elif look is not None:
            arrays, self.kept = inputs_for(engine.signatures[look], samples, {})
            self.source = {key: arrays[key] for key in ("images", "positions")}
        stepper = self.stepper()
        self.window, self.chunk = stepper.max_length, stepper.prefill_length
        if self.window is not None:
            self.window -= self.kept
        self.longest = 2 * self.chunk + self.chunk // 2 + 3  # several chunks, the last one short
        if self.window is not None:
            self.longest = min(self.longest, self.window)
        count = max(self.longest, self.window or 0)
        self.tokens = (first + samples.tokens(count))[:count]

    def _read_source(self, tokenizer, encoder: str) -> None:
        """A source that fills most of the encoder, as the device is given it."""
        signature = self.engine.signatures[encoder]
        info = signature.inputs
        made, _ = inputs_for(signature, self.samples, {}, share=0.75)
        if "token_ids" not in info:  # an image or a sound
            self.source = made
            return
        media = {key: made[key] for key in INPUTS.values() if key in info}
        length = info["token_ids"].shape[1]
        ids = self.samples.tokens(max(1, length - length // 4))
        if tokenizer is not None and "eos" in tokenizer.roles:
            ids[-1] = tokenizer.roles["eos"]
        padded = np.full((1, length), self.samples.pad, np.int32)
        padded[0, : len(ids)] = ids
        mask = (np.arange(length) < len(ids)).astype(np.int32)[None]
        self.source_ids = ids
        self.source = {"token_ids": padded, "padding_mask": mask, **media}
        self.source = {key: value for key, value in self.source.items() if key in info}
        if media:
            self.frames = media["frames"] if "frames" in media else media["images"][:, None]

    def stepper(self) -> Stepper:
        if not self.kept:
            return self.engine.stepper(self.source)
        stepper = self.engine.stepper()
        stepper.prefill_image(**self.source)
        return stepper

    def _behind_image(self, tokens: list[int]) -> list[int]:
        """Tokens at their positions, with something at those of the image."""
        image_token = getattr(self.model.backbone, "image_token", None) or 0
        return [image_token] * self.kept + tokens

    def check(self) -> dict:
        """Raises ExportError where the device's logits or tokens are not Keras'."""
        right = self.keras_logits(self.tokens[: self.longest])
        plain = self.decode_all(self.tokens[: self.longest])
        found = {"decode": difference(plain, right)}
        split = max(1, self.longest - 8)
        rows = self.prefill_then_decode(self.tokens[: self.longest], split)
        found["prefill"] = difference(rows, right[split:])
        if self.window is not None and self.window > self.longest:
            rows = self.prefill_then_decode(self.tokens, self.window - 1)
            found["full_window"] = difference(rows, self.keras_logits(self.tokens)[-1:])
        drafted = self.drafted(self.tokens[: self.longest])
        if drafted is not None:
            found["verify"] = difference(drafted, right)
        wrong = [complaint(f"generation: {key} logits", d, self.mode) for key, d in found.items()]
        refuse(wrong, self.mode)
        figures = {key: d.as_json(self.mode) for key, d in found.items()}
        figures["positions"] = self.longest
        if drafted is not None:
            figures["same_choice"] = self.same_choice(drafted, plain)
        # A quantized model's text may part from Keras'; `held_out` counts its choices.
        if hasattr(self.model, "stepper") and not self.mode.quantized:
            figures["greedy"] = self.greedy()
        return figures

    def keras_logits(self, tokens: list[int]) -> np.ndarray:
        """(L, V): the whole text at once, no state."""
        ids = keras.ops.convert_to_tensor([tokens], "int32")
        inputs = {"token_ids": ids, "padding_mask": keras.ops.ones_like(ids)}
        if self.source_ids is not None:
            source = keras.ops.convert_to_tensor([self.source_ids], "int32")
            inputs = {
                "token_ids": source,
                "padding_mask": keras.ops.ones_like(source),
                "decoder_token_ids": ids,
                "decoder_padding_mask": keras.ops.ones_like(ids),
            }
            if self.frames is not None:
                inputs["frames"] = keras.ops.convert_to_tensor(self.frames)
        elif self.source is not None:
            in_text = getattr(self.model.backbone, "image_token", None) is not None
            ids = keras.ops.convert_to_tensor(
                [self._behind_image(tokens) if in_text else tokens], "int32"
            )
            media = {k: keras.ops.convert_to_tensor(v) for k, v in self.source.items()}
            inputs = {**media, "token_ids": ids, "padding_mask": keras.ops.ones_like(ids)}
        logits = keras.ops.convert_to_numpy(self.model(inputs, training=False))
        return logits[0][-len(tokens) :].astype(np.float32)

    def decode_all(self, tokens: list[int]) -> np.ndarray:
        """(L, V): one token after another through the state, buffers used in place."""
        return self._decode(self.stepper(), tokens, 0)

    def prefill_then_decode(self, tokens: list[int], split: int) -> np.ndarray:
        """(L - split, V): `split` tokens by chunks, the others one after another."""
        stepper = self.stepper()
        prefill(stepper, [self._behind_image(tokens[: split + 1])])
        return self._decode(stepper, tokens, split)

    def drafted(self, tokens: list[int]) -> np.ndarray | None:
        """(L, V): all tokens by calls that check drafts, in turn one that is wrong and one that is
        right; `None` where no signature does."""
        if not any(name.startswith("verify") for name in self.engine.signatures):
            return None
        stepper, rows, wrong = self.stepper(), [], False
        while len(rows) < len(tokens):
            position = self.kept + len(rows)
            rest = tokens[len(rows) :]
            length = max((n for n in stepper.draft_lengths(position) if n <= len(rest)), default=1)
            wrong = not wrong
            taken = 1 if wrong else length
            ids = [*rest[:taken], *rest[:1] * (length - taken)]
            places = np.arange(position, position + length, dtype=np.int32)[None]
            call = stepper.decode if length == 1 else stepper.verify
            logits = call(np.array([ids], np.int32), places)
            rows += list(logits.reshape(length, -1)[:taken])
        return np.stack(rows)

    def same_choice(self, drafted: np.ndarray, plain: np.ndarray) -> float:
        """The share of places where a checked draft gives the likeliest token of `decode`.

        Raises:
            ExportError: it is too small; in a mode that must give Keras' text, a single place where
                the two tokens are not a tie.
        """
        chosen, right = drafted.argmax(-1), plain.argmax(-1)
        share = float((chosen == right).mean())
        places = np.arange(len(plain))
        gaps = plain[places, right] - plain[places, chosen]
        parted = self.mode.same_text and (gaps > 2 * self.mode.allowed(np.abs(plain).max())).any()
        if parted or share < LEAST_SAME:
            raise ExportError(
                f"verify chooses another token than decode at {(chosen != right).sum()} of "
                f"{len(plain)} places",
                next_step="export without drafts: --set export.verify_lengths='[]'",
            )
        return share

    def _decode(self, stepper, tokens, begin: int) -> np.ndarray:
        rows = []
        for position in range(begin, len(tokens)):
            ids = np.array([[tokens[position]]], np.int32)
            place = np.array([[self.kept + position]], np.int32)
            rows.append(stepper.decode(ids, place)[0])
        return np.stack(rows)

    # === Greedy text ===

    def own_text(self, count: int) -> tuple[list[int], list[int]]:
        """What Keras writes of the source by itself: the tokens before it, and `count` at most."""
        known = self.model.tokenizer is not None and hasattr(self.model, "first_tokens")
        prompt = self.model.first_tokens() if known else self.tokens[:1]
        if self.window is not None:
            count = min(count, self.window - len(prompt))
        sampling = Sampling(max_new_tokens=count, speculate=False)
        stepper = self._keras_stepper(prompt, sampling)
        return prompt, _run(stepper, self._behind_image(prompt), sampling)

    def greedy(self) -> dict:
        """Compare the likeliest tokens, one text after another.

        Where two tokens are as likely as the allowed error can tell, either is right, and the
        comparison goes on after Keras' choice.
        """
        counts = {"compared": 0, "equal": 0, "ties": 0}
        for first, (length, new) in enumerate(GREEDY):
            if "encode" in self.engine.signatures:
                prompt = self.tokens[:1]
                new = new if first == 0 else 0
            else:
                prompt = self.samples.tokens(length, first)
            if self.window is not None:
                prompt = prompt[: max(1, self.window // 4)]
                new = min(new, self.window - len(prompt) + 1)
            if new:
                self._compare_text(prompt, new, counts)
        return counts

    def _compare_text(self, prompt: list[int], new: int, counts: dict) -> None:
        sampling = Sampling(max_new_tokens=new, speculate=False)
        right = _run(self._keras_stepper(prompt, sampling), self._behind_image(prompt), sampling)
        counts["compared"] += len(right)
        done, ties = 0, 0
        while done < len(right):
            rest = Sampling(max_new_tokens=len(right) - done, speculate=False)
            found = _run(self.stepper(), self._behind_image(prompt + right[:done]), rest)
            same = next(
                (n for n, (a, b) in enumerate(zip(found, right[done:], strict=True)) if a != b),
                len(found),
            )
            counts["equal"] += same
            done += same
            if done == len(right) or ties == MAX_TIES:
                counts["compared"] -= len(right) - done
                return
            self._explain(prompt + right[:done], found[same], right[done])
            ties += 1
            counts["ties"] += 1
            done += 1

    def _keras_stepper(self, prompt: list[int], sampling: Sampling):
        if self.source is not None and self.source_ids is None:
            return self.model.media_stepper(self.source, self._behind_image(prompt), sampling)
        source = self.source_ids or prompt
        source = source if self.frames is None else (source, self.frames[0])
        return self.model.stepper([source], sampling)

    def _explain(self, history: list[int], found: int, right: int) -> None:
        """Raises ExportError unless the two tokens are as likely as each other."""
        logits = self.keras_logits(history)[-1]
        gap = float(logits[right] - logits[found])
        allowed = 2 * self.mode.allowed(float(np.abs(logits).max()))
        if self.mode.same_text and gap > allowed:
            raise ExportError(
                f"the bundle's greedy text is not Keras': token {len(history)} is {found} instead "
                f"of {right}, which is {gap:.3g} more likely; a tie is {allowed:.3g} at most",
                next_step=_advice(self.mode),
            )


def _run(stepper, prompt: list[int], sampling: Sampling) -> list[int]:
    generation = generate_tokens(stepper, [prompt], sampling)
    return [token for _, token in generation]
