"""The folder that the examples of docstrings run in: small files and bundles under their names.

Each bundle is a table that gives the example's answer, written by TensorFlow in a moment and run
by the real engine. `gpt.bundle` knows which word follows which; nothing is trained.
"""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

import modelzoo
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.runtime.abilities.captioning import frame_of
from modelzoo.runtime.bundle import write_manifest
from modelzoo.runtime.search.gallery import write_gallery
from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.tasks.profile import said
from modelzoo.weights import write_checkpoint
from tests import media, small
from tests.plugin_site import ROOT, Site, acme
from tests.weights import small_gguf

SLOTS = 64
IMAGE = {"size": [8, 8], "resize": "squash", "interpolation": "bilinear"}
AUDIO = {"sample_rate": 8000, "num_samples": 800, "padding": "zeros"}
CHAT = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}bot:"


def fill(folder: Path) -> None:
    """Write all of it: raw data, a model directory, a checkpoint, bundles, an installed plugin."""
    text = "In the beginning God created heaven and earth.\n"
    for name in ("corpus.txt", "held-out.txt"):
        (folder / name).write_text(text * 40, "utf-8")
    (folder / "reviews.csv").write_text("text,label\n" + "a fine film,good\na dull one,bad\n" * 5)
    media.write_picture(folder / "photo.jpg", media.picture("red"))
    for label, colour in (("cat", "red"), ("dog", "blue")):
        media.write_picture(folder / "photos" / label / "1.png", media.picture(colour))
    media.write_sound(folder / "speech.wav", media.tone(440))
    model = small.build(num_layers=1)
    modelzoo.dataset(model, folder / "corpus.txt")
    modelzoo.save(model, folder / "my-gpt")
    model.tokenizer.save(folder / "tokenizer.json")
    write_checkpoint(model, folder / "gpt2")
    small_gguf.write(folder / "smollm2.gguf")
    acme(Site(folder, folder))
    _install(folder, ROOT / "plugins" / "modelzoo-statistical")
    _write_bundles(folder)


def _install(folder: Path, project: Path) -> None:
    """What pip would write about a plugin of ours, whose code is found where it is."""
    stated = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    points = stated["entry-points"]
    Site(folder, folder).add(stated["name"], entry_points=points, files={})


def _write_bundles(folder: Path) -> None:
    says = ["In the beginning God created heaven", "bot: William Shakespeare."]
    _write(folder / "gpt.bundle", "causal-lm", says, _decoder, chat_template=CHAT)
    _write(
        folder / "captioner.bundle",
        "captioning",
        ["What colour is the cat? black"],
        lambda tokenizer, says: {**_decoder(tokenizer, says), **_encoder("images")},
        lambda tokenizer: {"image": IMAGE, "caption": frame_of(tokenizer)},
    )
    _write(
        folder / "whisper.bundle",
        "speech-to-text",
        [" And so, my fellow Americans."],
        lambda tokenizer, says: {**_decoder(tokenizer, says), **_encoder("audio")},
        lambda tokenizer: {"audio": AUDIO, "transcription": {"language": None}},
    )
    _write(
        folder / "classifier.bundle",
        "text-classification",
        ["a fine film"],
        lambda *_: _reader("serve", "logits", np.array([[3.9, 0.0]])),
        labels=["positive", "negative"],
    )
    _write(
        folder / "minilm.bundle",
        "text-embedding",
        ["a dog", "a puppy"],
        lambda *_: _reader("serve", "embedding", np.ones((1, 256))),
    )
    _write(
        folder / "bert.bundle",
        "masked-lm",
        ["Paris is the capital of France."],
        lambda tokenizer, _: _reader("serve", "logits", _capital(tokenizer)),
    )
    _write(
        folder / "names.bundle",
        "token-classification",
        ["Angela Merkel visited Paris"],
        lambda *_: _reader("serve", "logits", _names()),
        labels=["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
    )
    _write(
        folder / "qa.bundle",
        "question-answering",
        ["Who wrote it? The letter is by Ann."],
        _pointer,
    )
    _write(
        folder / "nli.bundle",
        "text-classification",
        ["It rained. This text is about weather.", "sport"],
        lambda tokenizer, _: _chooser(tokenizer, " weather", [0, 0, 3.5], [0, 0, 0]),
        labels=["contradiction", "neutral", "entailment"],
    )
    _write(
        folder / "reranker.bundle",
        "reranking",
        ["What do cats eat? Cats eat fish.", "It rained."],
        lambda tokenizer, _: _chooser(tokenizer, " fish", [3.5], [-4]),
    )
    _write(
        folder / "clip.bundle",
        "contrastive",
        ["a photo of a cat", "a photo of a dog"],
        _clip,
        lambda tokenizer: {"image": IMAGE, "contrastive": {"scales": {"image-text": 3.9}}},
    )
    shutil.copytree(folder / "clip.bundle", folder / "emoji.bundle")
    write_gallery(folder / "emoji.bundle", ["🐱 cat", "🐶 dog"], [[1, 0, 0], [0, 0, 1]])


def _write(
    path: Path,
    task: str,
    says: Sequence[str],
    signatures: Callable[[Tokenizer, Sequence[str]], Mapping],
    processing: Callable[[Tokenizer], dict] = lambda tokenizer: {},
    chat_template: str | None = None,
    labels: list[str] | None = None,
) -> None:
    """One bundle, with a tokenizer that knows the words of `says` whole."""
    path.mkdir()
    tokenizer = train_tokenizer(
        list(says) * 2, vocab_size=600, specials=said(task, "special_tokens")
    )
    tokenizer.save(path / "tokenizer.json")
    entry = {"file": "tokenizer.json"}
    if chat_template:
        (path / "chat_template.jinja").write_text(chat_template)
        entry["chat_template"] = "chat_template.jinja"
    made = signatures(tokenizer, says)
    (path / "model.tflite").write_bytes(_converted(made))
    manifest = {
        "name": path.stem,
        "task": task,
        "format": "tflite",
        "model": "model.tflite",
        "signatures": {name: {} for name in made},
        "tokenizer": entry,
        "labels": labels,
        "processing": processing(tokenizer),
    }
    write_manifest(path, manifest)


def _converted(signatures: Mapping) -> bytes:
    functions = [
        tf.function(function).get_concrete_function(
            **{key: tf.TensorSpec(shape, dtype, key) for key, (shape, dtype) in inputs.items()}
        )
        for function, inputs in signatures.values()
    ]
    module = tf.Module()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, dict(zip(signatures, functions, strict=True)))
        keys = list(signatures)
        return tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=keys).convert()


# === What the bundles compute: signature -> (function, {input: (shape, dtype)}) ===


def _decoder(tokenizer: Tokenizer, says: Sequence[str]) -> dict:
    """The word that follows a word in `says`."""
    follows = np.full(tokenizer.vocab_size, tokenizer.role("eos"), np.int32)
    for text in says:
        ids = [tokenizer.role("bos"), *tokenizer.encode(text)]
        follows[ids[:-1]] = ids[1:]
    state = {f"kv_cache_{kind}_0": ((1, 1, SLOTS, 1), tf.float32) for kind in "kv"}
    names = ("token_ids", "positions")

    def decode(token_ids, positions, **state):
        here = tf.reduce_sum(tf.one_hot(positions[0], SLOTS), 0)[
            tf.newaxis, tf.newaxis, :, tf.newaxis
        ]
        after = tf.gather(follows, tf.maximum(token_ids, 0))
        logits = 20 * tf.one_hot(after, tokenizer.vocab_size)
        return {"logits": logits, **{name: value + here for name, value in state.items()}}

    def score(target_ids, **inputs):
        outputs = decode(**inputs)
        logits = tf.nn.log_softmax(outputs.pop("logits"))
        chosen = tf.reduce_sum(logits * tf.one_hot(target_ids, tokenizer.vocab_size), -1)
        return {"log_probs": chosen, "gap": tf.reduce_max(logits, -1) - chosen, **outputs}

    four = {name: ((1, 4), tf.int32) for name in (*names, "target_ids")}
    return {
        "decode": (decode, {name: ((1, 1), tf.int32) for name in names} | state),
        "score_4": (score, four | state),
    }


def _encoder(name: str) -> dict:
    """What looks or listens; the decoder above does without."""
    read = {"images": ((1, 8, 8, 3), tf.uint8), "audio": ((1, 800), tf.float32)}[name]
    return {"encode": (lambda **x: {"memory": tf.cast(x[name], tf.float32) * 2}, {name: read})}


def _reader(name: str, output: str, answer: np.ndarray) -> dict:
    """The same answer to every text."""
    inputs = {key: ((1, 16), tf.int32) for key in ("token_ids", "padding_mask")}

    def read(token_ids, padding_mask):
        nothing = tf.cast(tf.reduce_sum(token_ids * padding_mask), tf.float32) * 0
        return {output: tf.constant(answer, tf.float32) + nothing}

    return {name: (read, inputs)}


def _pointer(tokenizer: Tokenizer, says: Sequence[str]) -> dict:
    """The answer is " Ann", which is one token."""
    (word,) = tokenizer.encode(" Ann")
    inputs = {key: ((1, 32), tf.int32) for key in ("token_ids", "padding_mask")}

    def read(token_ids, padding_mask):
        here = tf.cast(tf.equal(token_ids * padding_mask, word), tf.float32)
        return {"start_logits": 3.5 * here, "end_logits": 3.6 * here}

    return {"serve": (read, inputs)}


def _chooser(tokenizer: Tokenizer, text: str, there: list, absent: list) -> dict:
    """One answer to what has a word, which is one token, and another to what has not."""
    (word,) = tokenizer.encode(text)
    inputs = {key: ((1, 32), tf.int32) for key in ("token_ids", "padding_mask")}

    def read(token_ids, padding_mask):
        has = tf.reduce_max(tf.cast(tf.equal(token_ids * padding_mask, word), tf.float32))
        return {
            "logits": has * tf.constant([there], tf.float32)
            + (1 - has) * tf.constant([absent], tf.float32)
        }

    return {"serve": (read, inputs)}


def _capital(tokenizer: Tokenizer) -> np.ndarray:
    """(1, 16, V): every word may be left out, and it is the same one."""
    (word,) = tokenizer.encode(" capital")
    logits = np.zeros((1, 16, tokenizer.vocab_size))
    logits[..., word] = 8.5
    return logits


def _names() -> np.ndarray:
    """(1, 16, tags): the first two words are a person, the fourth is a place."""
    tags = [0, 1, 2, 0, 3] + [0] * 11  # [CLS] stands before the words
    return 5.5 * np.eye(5)[tags][np.newaxis]


def _clip(tokenizer: Tokenizer, says: Sequence[str]) -> dict:
    """A cat is red, and a dog is blue."""
    colours = np.zeros((tokenizer.vocab_size, 3), np.float32)
    colours[tokenizer.encode(" cat"), 0] = colours[tokenizer.encode(" dog"), 2] = 1

    def encode_image(images):
        mean = tf.reduce_mean(tf.cast(images, tf.float32), (1, 2))
        return {"embedding": mean / tf.norm(mean, axis=-1, keepdims=True)}

    def encode_text(token_ids, padding_mask):
        mask = tf.cast(padding_mask, tf.float32)[..., tf.newaxis]
        return {"embedding": tf.reduce_sum(tf.gather(colours, token_ids) * mask, 1)}

    text = {key: ((1, 16), tf.int32) for key in ("token_ids", "padding_mask")}
    image = {"images": ((1, 8, 8, 3), tf.uint8)}
    return {"encode_image": (encode_image, image), "encode_text": (encode_text, text)}
