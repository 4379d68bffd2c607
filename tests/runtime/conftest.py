"""Small language models in numpy whose every logit depends on the whole visible history."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tokenizers

from modelzoo.runtime.bundle import write_manifest
from modelzoo.runtime.generation.drafting import PassTimes
from tests.once import once

HERE = Path(__file__).parent


class AttentionModel:
    """Two layers of causal attention over a window; `logits(history)` is the plain definition.

    The second layer's keys and values depend on everything before them, so a wrong slot, position,
    chunk or mask changes the answer.
    """

    def __init__(self, vocab_size=13, max_length=16, width=8, seed=0):
        rng = np.random.default_rng(seed)
        self.vocab_size, self.max_length, self.width = vocab_size, max_length, width
        self.embedding = rng.normal(size=(vocab_size, width))
        self.position = rng.normal(size=(max_length, width))
        self.layers = [rng.normal(size=(3, width, width)) / width**0.5 for _ in range(2)]
        self.head = rng.normal(size=(width, vocab_size)) * 3

    def attend(self, queries, keys, values):
        scores = queries @ keys.T / self.width**0.5
        weights = np.exp(scores - scores.max())
        return weights / weights.sum() @ values

    def logits(self, history, context=0.0):
        x = self.embedding[history] + self.position[: len(history)] + context
        for wq, wk, wv in self.layers:
            q, k, v = x @ wq, x @ wk, x @ wv
            seen = range(1, len(history) + 1)
            x = x + np.stack([self.attend(q[n - 1], k[:n], v[:n]) for n in seen])
        return np.tanh(x[-1]) @ self.head

    def greedy(self, prompt, count, context=0.0):
        history = list(prompt)
        while len(history) < len(prompt) + count and len(history) <= self.max_length:
            history.append(int(self.logits(history, context).argmax()))
        return history[len(prompt) :]

    def stepper(self, batch_size=1, prefill_length=4, **attributes):
        return AttentionStepper(self, batch_size, prefill_length, attributes)

    def drafting(self, lengths=(4,), ratio=1.1, batch_size=1, **attributes):
        """A stepper that checks drafts, at a steady cost."""
        attributes |= {"lengths": lengths, "pass_times": SteadyTimes(ratio)}
        return DraftingStepper(self, batch_size, 4, attributes)


class AttentionStepper:
    """The same model with its keys and values kept in slots; padding leaves garbage there."""

    def __init__(self, model, batch_size, prefill_length, attributes):
        self.model, self.batch_size, self.prefill_length = model, batch_size, prefill_length
        self.vocab_size, self.max_length = model.vocab_size, model.max_length
        shape = (batch_size, len(model.layers), 2, model.max_length, model.width)
        self.state = np.full(shape, 1e3)  # what was never written must never be seen
        self.calls = []
        self.__dict__.update(attributes)

    def prefill(self, token_ids, positions):
        assert token_ids.shape == positions.shape
        self.calls.append(token_ids.shape[1])
        self._step(token_ids, positions)

    def decode(self, token_ids, positions):
        assert token_ids.shape == positions.shape == (self.batch_size, 1)
        self.calls.append("decode")
        return self._step(token_ids, positions)[:, -1]

    def _step(self, token_ids, positions):
        assert token_ids.dtype == positions.dtype == np.int32
        assert 0 <= positions.min() and positions.max() < self.max_length
        model = self.model
        logits = np.zeros((*token_ids.shape, self.vocab_size), np.float32)
        for row, (ids, places) in enumerate(zip(token_ids, positions, strict=True)):
            x = np.where(ids[:, None] < 0, 50.0, model.embedding[ids] + model.position[places])
            for layer, (wq, wk, wv) in enumerate(model.layers):
                keys, values = self.state[row, layer]
                keys[places], values[places] = x @ wk, x @ wv
                seen = [
                    model.attend(q, keys[: p + 1], values[: p + 1])
                    for q, p in zip(x @ wq, places, strict=True)
                ]
                x = x + np.stack(seen)
            logits[row] = np.tanh(x) @ model.head
        return logits


class DraftingStepper(AttentionStepper):
    """The same stepper with calls that check drafts of `lengths` tokens."""

    def draft_lengths(self, position):
        return tuple(n for n in self.lengths if position + n <= self.max_length)

    def verify(self, token_ids, positions):
        assert token_ids.shape == positions.shape and token_ids.shape[1] in self.lengths
        assert (np.diff(positions) == 1).all()
        self.calls.append(f"verify_{token_ids.shape[1]}")
        return self._step(token_ids, positions)


class SteadyTimes(PassTimes):
    """A pass of a draft takes `ratio` passes of one token, whatever the machine does."""

    def __init__(self, ratio):
        super().__init__()
        self.steady = ratio

    def ratio(self, length):
        return self.steady


class RecurrentStepper:
    """A recurrent model without a window; a -1 leaves a row's state as it is."""

    max_length = None

    def __init__(self, batch_size=1, prefill_length=4, vocab_size=13, width=8, seed=1):
        rng = np.random.default_rng(seed)
        self.batch_size, self.prefill_length = batch_size, prefill_length
        self.vocab_size = vocab_size
        self.embedding = rng.normal(size=(vocab_size, width))
        self.recurrent = rng.normal(size=(width, width)) / 2
        self.head = rng.normal(size=(width, vocab_size)) * 3
        self.state = np.zeros((batch_size, width))

    def prefill(self, token_ids, positions):
        for row, ids in enumerate(token_ids):
            for token in ids[ids >= 0]:
                self.state[row] = np.tanh(self.state[row] @ self.recurrent + self.embedding[token])

    def decode(self, token_ids, positions):
        self.prefill(token_ids, positions)
        return (self.state @ self.head).astype(np.float32)

    def greedy(self, prompt, count):
        """The definition: one token after another through a fresh state."""
        fresh = RecurrentStepper(vocab_size=self.vocab_size)
        out = []
        for token in prompt:
            logits = fresh.decode(np.array([[token]]), None)
        for _ in range(count):
            out.append(int(logits[0].argmax()))
            logits = fresh.decode(np.array([[out[-1]]]), None)
        return out


class PieceTokenizer:
    """Token id n is the n-th piece; the last is eos. The longest piece is taken."""

    def __init__(self, pieces):
        self.pieces = list(pieces)
        self.vocab_size = len(self.pieces) + 1
        self.roles = {"eos": len(self.pieces)}
        self.stop_tokens, self.prefix = frozenset(self.roles.values()), ()

    def encode(self, text):
        ids = []
        while text:
            piece = max((p for p in self.pieces if text.startswith(p)), key=len)
            ids.append(self.pieces.index(piece))
            text = text[len(piece) :]
        return ids

    def stream(self, after=()):
        return SimpleNamespace(push=lambda token: self.pieces[token], flush=lambda: "")


@pytest.fixture
def fakes():
    return SimpleNamespace(
        AttentionModel=AttentionModel,
        RecurrentStepper=RecurrentStepper,
        PieceTokenizer=PieceTokenizer,
        SteadyTimes=SteadyTimes,
    )


# === Bundles ===

PIECES = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "</s>", *"abcdefghijkl"]


def tokenizer_json():
    """One word a letter: "a b" is two tokens."""
    words = tokenizers.models.WordLevel(dict(zip(PIECES, range(17), strict=True)), unk_token="a")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(PIECES[:5])
    return tokenizer.to_str()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """TFLite and SavedModel files of the numpy models, with 17 tokens: `tiny.bundle(name)`."""
    attention = AttentionModel(vocab_size=17)
    recurrent = RecurrentStepper(vocab_size=17)

    def write(directory):
        np.savez(
            directory / "weights.npz",
            embedding=attention.embedding,
            position=attention.position,
            head=attention.head,
            layers=np.stack(attention.layers),
            **{f"recurrent_{n}": getattr(recurrent, n) for n in ("embedding", "recurrent", "head")},
        )
        subprocess.run(
            [sys.executable, HERE / "tiny_bundles.py", directory / "weights.npz", directory],
            check=True,
            capture_output=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        )
        return directory

    directory = once(tmp_path_factory, "tiny", write)

    def bundle(name, where, format="tflite", **manifest):
        """Write a bundle of the model `name` to `where`; keywords go into its manifest."""
        where.mkdir()
        (where / "tokenizer.json").write_text(tokenizer_json())
        model = "model.tflite" if format == "tflite" else "saved_model"
        if format == "tflite":
            shutil.copy(directory / f"{name}.tflite", where / model)
        else:
            shutil.copytree(directory / name, where / model)
        tasks = {"decoder": "causal-lm", "recurrent": "causal-lm", "seq2seq": "seq2seq-lm"}
        tasks |= {"drafts": "causal-lm", "scores": "causal-lm"}
        tasks |= {"classes": "text-classification", "tokens": "masked-lm", "embedding": "embedding"}
        tasks |= {f"{kind}_sizes": tasks[kind] for kind in ("classes", "tokens", "embedding")}
        serve = {"serve": {}}
        signatures = {"seq2seq": {"encode": {}, "prefill": {}, "decode": {}}}
        signatures["decoder"] = {"prefill_4": {}, "decode": {}}
        signatures["drafts"] = {**signatures["decoder"], "verify_4": {}}
        signatures["scores"] = {**signatures["decoder"], "score_4": {}}
        signatures["recurrent"] = {"prefill": {}, "decode": {}}
        content = {
            "name": name,
            "task": tasks[name],
            "format": format,
            "model": model,
            "vocab_size": 17,
            "signatures": signatures.get(name, serve),
            "tokenizer": {"file": "tokenizer.json", "roles": {"eos": 4}},
            "processing": {"start_token": 0} if name == "seq2seq" else {},
        }
        write_manifest(where, content | manifest)
        return where

    return SimpleNamespace(
        attention=attention, recurrent=recurrent, bundle=bundle, directory=directory
    )
