"""`wudao-tiny` captions in two languages and translates both ways, with experts and without.

    python -m benchmarks.training.wudao

One encoder-decoder learns a mixture side by side: captions of emoji (Google's drawings of nine in
ten of 1,911 concepts) and of Tux Paint stamps in English and Chinese, LibreOffice's help from
English to Chinese and back (lines of 40 characters at most), matching of images and texts, span
corruption and next sentences. `wudao-tiny` has 8 experts in every second layer, of which a token
uses 2; `wudao-tiny-dense` has as many active parameters, and learns the same batches.

*Captions* are asked for images that no model has seen: Twitter's drawings of the concepts trained
on, and stamps held out by their English caption. The baseline gives the caption of the training
image whose pixels are nearest. F1 is the overlap of words, in Chinese of characters. *Translation*
is of held-out lines, compared with the source as it is and with the translation of the training
line that shares the rarest words (of Chinese, pairs of characters). *Retrieval* ranks the captions
of Twitter's drawings by their likelihood given a drawing, less its mean over all drawings, and the
drawings by the likelihood of a caption.

Needs npm, apt (tuxpaint-stamps-default, libreoffice-help-en-us and -zh-cn) and sacrebleu.
"""

from __future__ import annotations

import hashlib
import html
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.common import percent, write_result
from benchmarks.training import asterisk, emoji
from benchmarks.training.captions import AUGMENT, Nearest, f1
from benchmarks.training.translation import NearestLine

STAMPS = "tuxpaint-stamps-default"
HELP = ("libreoffice-help-en-us", "libreoffice-help-zh-cn")
LANGUAGES = {"en": "English", "zh": "Chinese"}
PARTS = {"en": "caption", "zh": "caption-zh"}  # of the recipe, whose prompt asks for the language
WAYS = {"en-zh": ("en", "zh"), "zh-en": ("zh", "en")}
LONGEST = 40  # characters of a line of help, and of a caption to learn from
PIXELS = {"size": [48, 48], "resize": "squash", "interpolation": "bicubic"}  # as the model's
WEIGHTS = {
    "caption": 4, "caption-zh": 4, "en-zh": 3, "zh-en": 3,
    "denoise": 0.25, "match": 0.25, "next": 0.25,
}  # fmt: skip
_PARAGRAPH = re.compile(r'<(p|h\d)\b[^>]*\bid="((?:par|hd)_id[^"]*)"[^>]*>(.*?)</\1>', re.S)
_CHINESE = re.compile("[\u4e00-\u9fff]")


# === Data ===


def pictures(folder: Path) -> list[dict]:
    """Each concept and stamp: `image`, `en`, `zh`, `held_out`, and of a concept `other`, the
    drawing in the other style."""
    found = [
        {"image": one["google"], "other": one["twitter"], **_captions(one)}
        for one in emoji.concepts(folder)
    ]
    root = folder / "unpacked" / "usr" / "share" / "tuxpaint" / "stamps"
    for image in sorted(root.rglob("*.png")):
        listing = image.with_suffix(".txt")
        lines = listing.read_text("utf-8", "replace").splitlines() if listing.is_file() else []
        chinese = [line for line in lines if line.startswith("zh_CN.utf8=")]
        if lines and lines[0].strip() and chinese and chinese[0].partition("=")[2].strip():
            english, held_out = lines[0].strip(), _held_out(lines[0].strip(), 10)
            one = {"en": english, "zh": chinese[0].partition("=")[2].strip()}
            found.append({"image": image, **one, "held_out": held_out})
    return found


def _captions(concept: Mapping) -> dict:
    return {key: concept[key] for key in ("en", "zh", "held_out")}


def _held_out(text: str, of: int) -> bool:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % of == 0


def pages(folder: Path) -> list[list[tuple[str, str]]]:
    """(English, Chinese) of each paragraph that both versions of a help page have."""
    root, found = folder / "unpacked" / "usr" / "share" / "libreoffice" / "help", []
    for path in sorted((root / "en-US").rglob("*.html")):
        other = root / "zh-CN" / path.relative_to(root / "en-US")
        if other.is_file():
            english, chinese = _paragraphs(path), _paragraphs(other)
            both = [(english[key], chinese[key]) for key in english if key in chinese]
            found.append([(a, b) for a, b in both if a and _CHINESE.search(b)])
    return found


def _paragraphs(path: Path) -> dict[str, str]:
    """id -> text."""
    found = _PARAGRAPH.findall(path.read_text("utf-8"))
    return {
        key: " ".join(html.unescape(re.sub("<[^>]+>", "", inner)).split())
        for _, key, inner in found
    }


def lines(found: list[list[tuple[str, str]]]) -> tuple[list[dict], list[dict]]:
    """Training and held-out pairs of short lines; an English line is on one side alone."""
    unique: dict[str, str] = {}
    for a, b in (pair for page in found for pair in page):
        if len(a) <= LONGEST and len(b) <= LONGEST:
            unique.setdefault(a, b)
    pairs = [{"en": a, "zh": b} for a, b in unique.items()]
    held_out = [_held_out(one["en"], 40) for one in pairs]
    seen = {one["zh"] for one, out in zip(pairs, held_out, strict=True) if not out}
    return (
        [one for one, out in zip(pairs, held_out, strict=True) if not out],
        # A line that was translated from another one would be known by heart on the way back.
        [one for one, out in zip(pairs, held_out, strict=True) if out and one["zh"] not in seen],
    )


def training_data(images: list[dict], pairs: list[dict], texts: list[str]) -> dict[str, list]:
    """The raw data of each part of the mixture."""
    seen = [one for one in images if not one["held_out"]]
    captions = {
        part: [
            {"image": one["image"], "text": one[language]}
            for one in seen
            if len(one[language]) <= LONGEST
        ]
        for language, part in PARTS.items()
    }
    ways = {
        way: [{"source": one[a], "target": one[b]} for one in pairs] for way, (a, b) in WAYS.items()
    }
    both = [one for rows in captions.values() for one in rows]
    return {**captions, **ways, "match": both, "denoise": texts, "next": texts}


# === Systems ===


class NearestPair(NearestLine):
    """The translation of the training line that shares the rarest words or pairs of characters."""

    @staticmethod
    def words(text: str) -> set[str]:
        if _CHINESE.search(text):
            return {text[at : at + 2] for at in range(max(1, len(text) - 1))}
        return set(text.lower().split())


def likelihoods(model, prompt: str, images: Sequence, texts: Sequence[str]) -> np.ndarray:
    """(images, texts): the log-probability of each text given each image, of a Keras model."""
    from keras import ops

    from modelzoo.data.media_rows import preparer
    from modelzoo.data.seq2seq import first_token, shifted
    from modelzoo.tasks.shared.stepper import compiled

    tokenizer, backbone = model.tokenizer, model.backbone
    eos, pad = tokenizer.role("eos"), tokenizer.role("pad")
    ids = [[*row, eos] for row in tokenizer.encode_batch(list(texts))]
    width = max(map(len, ids))
    y = np.array([row + [pad] * (width - len(row)) for row in ids], np.int32)
    real = np.arange(width) < np.array([[len(row)] for row in ids])
    read = shifted(y, real, first_token(tokenizer), pad)["decoder_token_ids"]
    positions = np.broadcast_to(np.arange(width, dtype=np.int32), y.shape)
    source = np.array([tokenizer.encode_source(prompt)], np.int32)
    frame = preparer("image", model.processing())

    def totals(source, frames):
        memory = backbone.encode(source, None, frames)
        memory = {key: ops.repeat(value, len(y), axis=0) for key, value in memory.items()}
        cache = backbone.init_cache(len(y), width)
        logits, _ = backbone.step(ops.convert_to_tensor(read), positions, cache, memory)
        logits = ops.cast(logits, "float32")
        own = ops.take_along_axis(logits, ops.convert_to_tensor(y)[..., None], axis=-1)[..., 0]
        found = own - ops.logsumexp(logits, axis=-1)
        return ops.sum(found * ops.cast(real, "float32"), axis=1)

    run = compiled(totals, model)
    rows = [run(ops.convert_to_tensor(source), frame(one)[None, None]) for one in images]
    return np.stack([ops.convert_to_numpy(row) for row in rows])


def expert_loads(model, batch) -> list[dict]:
    """The share of a layer's choices that each expert has, in the tokens of a batch."""
    from modelzoo.layers.experts import Experts

    found = []
    for layer in model._flatten_layers():
        if isinstance(layer, Experts):
            found.append(_Watched(layer))
    model(batch, training=False)
    for one in found:
        one.layer.call = one.call
    return [
        {"layer": " ".join(one.layer.path.split("/")[1:-1]), **one.shares()}
        for one in found
        if one.chosen
    ]


class _Watched:
    """An `Experts` layer, and the experts that it chooses for real tokens in the next call."""

    def __init__(self, layer):
        self.layer, self.call, self.chosen = layer, layer.call, []
        layer.call = self

    def __call__(self, x, padding_mask=None, training=None):
        logits = np.asarray(self.layer.router(x)).reshape(-1, self.layer.experts.count)
        real = np.ones(len(logits), bool)
        if padding_mask is not None:
            real = np.asarray(padding_mask).astype(bool).reshape(-1)
        self.chosen.append(np.argsort(-logits[real], axis=1)[:, : self.layer.experts.top_k])
        return self.call(x, padding_mask=padding_mask, training=training)

    def shares(self) -> dict[str, float]:
        counts = np.bincount(
            np.concatenate(self.chosen).reshape(-1), minlength=self.layer.experts.count
        )
        return {f"expert {n + 1} %": percent(float(c) / counts.sum()) for n, c in enumerate(counts)}


# === Scores ===


def chrf(truth: Sequence[str], guesses: Sequence[str]) -> float:
    import sacrebleu

    return round(sacrebleu.corpus_chrf(list(guesses), [list(truth)]).score, 1)


def caption_scores(truth: Sequence[str], guesses: Sequence[str]) -> dict[str, float]:
    both = list(zip(truth, guesses, strict=True))
    return {
        "F1 %": percent(float(np.mean([f1(*pair) for pair in both]))),
        "exact %": percent(float(np.mean([a == b for a, b in both]))),
        "chrF2": chrf(truth, guesses),
    }


def recalls(found: np.ndarray, texts: Sequence[str]) -> dict[str, float]:
    """Recall both ways of likelihoods (N, N), where equal texts are equally right.

    Ties count against the model.
    """
    alike = np.array([[a == b for b in texts] for a in texts])
    shares = {}
    for way, scores in (
        ("image to text", found - found.mean(axis=0, keepdims=True)),
        ("text to image", found.T),
    ):
        own = np.where(alike, scores, -np.inf).max(axis=1, keepdims=True)
        before = (~alike & (scores >= own)).sum(axis=1)
        shares |= {f"{way} @{top}": percent(float((before < top).mean())) for top in (1, 5)}
    return shares


# === The run ===


def recipe_of(name: str, steps: int, changes: Mapping):
    from modelzoo import read_recipe

    weights = {f"mixture.{part}.weight": float(weight) for part, weight in WEIGHTS.items()}
    usual = {
        "train.steps": steps,
        "train.checkpoint_steps": 250,
        "train.validation_fraction": 0.0,
        "train.length": 24,
        "train.batch_size": 64,
        "task_options.augment": AUGMENT,
    }
    return read_recipe(name, {**usual, **weights, **changes})


def prompt_of(model, part: str) -> str:
    return model.recipe.values["mixture"][part].get("prompt", "")


class Tests:
    """What every system is asked, and the rows of the tables."""

    def __init__(self, images: list[dict], held_out: list[dict], count: int):
        concepts = [one for one in images if "other" in one and not one["held_out"]]
        step = max(1, len(concepts) // count)
        self.drawings = concepts[::step][:count]
        stamps = [one for one in images if "other" not in one and one["held_out"]]
        self.images = {
            "new style": [{"image": one["other"], **_texts(one)} for one in self.drawings],
            "new stamps": [{"image": one["image"], **_texts(one)} for one in stamps],
        }
        self.lines = held_out[:count]
        self.captions: list[dict] = []
        self.translations: list[dict] = []
        self.retrieval: list[dict] = []

    def add_captions(self, system: str, write: Callable[[list[dict], str], list[str]]) -> None:
        for name, rows in self.images.items():
            for language, spoken in LANGUAGES.items():
                guesses = write(rows, language)
                head = {"images": f"{name} ({len(rows)})", "language": spoken, "system": system}
                truth = [one[language] for one in rows]
                self.captions.append({**head, **caption_scores(truth, guesses)})
                print(self.captions[-1], list(zip(truth, guesses, strict=True))[::40], flush=True)

    def add_translations(self, system: str, write: Callable[[list[str], str], list[str]]) -> None:
        for way, (a, b) in WAYS.items():
            sources, truth = ([one[key] for one in self.lines] for key in (a, b))
            guesses = write(sources, way)
            self.translations.append({"way": way, "system": system, "chrF2": chrf(truth, guesses)})
            print(self.translations[-1], list(zip(truth, guesses, strict=True))[::40], flush=True)

    def add_model(self, system: str, model, recipe_model) -> None:
        """The captions and translations of a Keras model or of a bundle."""

        def captions(rows, language):
            prompt = prompt_of(recipe_model, PARTS[language])
            return model.caption([one["image"] for one in rows], prompt, max_new_tokens=24)

        def translations(sources, way):
            prompt = prompt_of(recipe_model, way)
            return model.generate([prompt + one for one in sources], max_new_tokens=48)

        self.add_captions(system, captions)
        self.add_translations(system, translations)

    def add_retrieval(self, system: str, model) -> None:
        rows = self.images["new style"]
        for language, spoken in LANGUAGES.items():
            texts = [one[language] for one in rows]
            prompt = prompt_of(model, PARTS[language])
            found = likelihoods(model, prompt, [one["image"] for one in rows], texts)
            head = {"among": len(rows), "language": spoken, "system": system}
            self.retrieval.append({**head, **recalls(found, texts)})
            print(self.retrieval[-1], flush=True)


def _texts(one: Mapping) -> dict[str, str]:
    return {language: one[language] for language in LANGUAGES}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=3400)
    parser.add_argument("--count", type=int, default=200, help="images and lines to test on")
    parser.add_argument("--keep", type=Path, help="a folder for what is fetched and trained")
    parser.add_argument("--quantize", default="int8")
    parser.add_argument("--set", action="append", default=[], help="train.batch_size=64 and so on")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from modelzoo import export, load
    from modelzoo.recipe import parse_set
    from modelzoo.runtime import load as load_bundle
    from modelzoo.training.train import train

    with tempfile.TemporaryDirectory() as temporary:
        cache = work = args.keep or Path(temporary)
        emoji.fetch(cache)
        asterisk.fetch(cache, (STAMPS, *HELP))
        images, help_pages = pictures(cache), pages(cache)
        pairs, held_out = lines(help_pages)
        known = {one[key] for one in held_out for key in LANGUAGES}
        texts = [
            joined.join(text for text in side if text not in known)
            for page in help_pages
            if page
            for side, joined in zip(zip(*page, strict=True), (" ", ""), strict=True)
        ]
        data = training_data(images, pairs, [text for text in texts if text])
        print({name: len(rows) for name, rows in data.items()}, len(held_out), flush=True)
        tests, cost, loads = Tests(images, held_out, args.count), [], []
        tests.add_translations("source as it is", lambda sources, way: sources)
        nearest = {
            way: NearestPair([{"source": one[a], "target": one[b]} for one in pairs])
            for way, (a, b) in WAYS.items()
        }
        tests.add_translations(
            "nearest training line", lambda sources, way: [nearest[way](one) for one in sources]
        )
        pixels = {language: Nearest(data[part], PIXELS) for language, part in PARTS.items()}
        tests.add_captions("nearest pixels", lambda rows, language: pixels[language](rows))
        for name in ("wudao-tiny", "wudao-tiny-dense"):
            recipe = recipe_of(name, args.steps, parse_set(args.set))
            began, used = time.monotonic(), time.process_time()
            train(recipe, data, work / name, force=True)
            minutes = (time.monotonic() - began) / 60
            used = time.process_time() - used
            model = load(work / name, compile=False)
            tests.add_model(f"{name}, Keras", model, model)
            tests.add_retrieval(f"{name}, Keras", model)
            if name == "wudao-tiny":
                loads = expert_loads(model, _one_of_each(model, data))
                print(*loads, sep="\n", flush=True)
            export(model, work / f"{name}.bundle", quantize=args.quantize, force=True)
            files = (work / f"{name}.bundle").rglob("*")
            size = sum(path.stat().st_size for path in files if path.is_file())
            bundle = load_bundle(work / f"{name}.bundle")
            tests.add_model(f"{name}, TFLite {args.quantize}", bundle, model)
            cost.append(
                {
                    "model": name,
                    "parameters": model.count_params(),
                    "steps": args.steps,
                    "minutes of training": round(minutes, 1),
                    "CPU minutes": round(used / 60, 1),
                    "steps a CPU second": round(args.steps / used, 2),
                    "MB of the bundle": round(size / 1e6, 2),
                }
            )
            print(cost[-1], flush=True)
    figures = {
        "captions": tests.captions,
        "translation": tests.translations,
        "retrieval, recall in %": tests.retrieval,
        "expert load, share of the choices": loads,
        "cost": cost,
    }
    packages = ("keras", "tensorflow", "ai-edge-litert", "sacrebleu")
    write_result("wudao", figures, packages=packages, folder=args.results)


def _one_of_each(model, data: Mapping[str, list]) -> dict:
    """A batch of training images with their prompt."""
    import modelzoo

    batches = modelzoo.dataset(model, {"caption": data["caption"][:256]}, shuffle=False)
    return batches[0][0]


if __name__ == "__main__":
    main()
