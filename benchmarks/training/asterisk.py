"""`clap-tiny` learns which of Asterisk's spoken prompts says what, and is asked about others.

    python -m benchmarks.training.asterisk

Needs apt (it fetches asterisk-core-sounds-en and -wav, CC-BY-SA-3.0). One speaker, 568 prompts; one
in ten transcripts is held out. Recall is among the held-out prompts, both ways, compared with
chance and with what the length alone shows (a longer text takes longer to say).
"""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.common import percent, write_result

PACKAGES = ("asterisk-core-sounds-en", "asterisk-core-sounds-en-wav")
TOPS = (1, 5, 10)


def fetch(folder: Path, packages=PACKAGES) -> None:
    """Debian packages, unpacked below `folder`; what is there already is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        if list(folder.glob(f"{package}_*.deb")):
            continue
        command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
        subprocess.run(command, cwd=folder, check=True)
        (archive,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", archive, folder / "unpacked"], check=True)


def transcripts(folder: Path) -> list[tuple[Path, str]]:
    """(sound, text) of each prompt that has both, in the order of the package's own list."""
    share = folder / "unpacked" / "usr" / "share"
    listing = share / "doc" / "asterisk-core-sounds-en" / "core-sounds-en.txt.gz"
    root, found = share / "asterisk" / "sounds" / "en_US_f_Allison", []
    for line in gzip.decompress(listing.read_bytes()).decode("utf-8").splitlines():
        name, colon, text = line.partition(":")
        path = root / f"{name.strip()}.wav"
        if colon and text.strip() and not line.startswith(";") and path.is_file():
            found.append((path, text.strip()))
    return found


def prompts(folder: Path) -> list[dict]:
    """`audio`, `text` and `held_out` of each prompt."""
    return [
        {"audio": path, "text": text, "held_out": is_held_out(text)}
        for path, text in sorted(dict(transcripts(folder)).items())
    ]


def is_held_out(text: str) -> bool:
    """One in ten texts, the same each time."""
    return int.from_bytes(hashlib.sha256(text.lower().encode()).digest()[:4], "big") % 10 == 0


def figures(first: np.ndarray, second: np.ndarray, texts: list[str]) -> list[float]:
    """Recall at 1, 5 and 10 both ways, of (N, E) vectors; equal texts are one answer."""
    from modelzoo.tasks.shared.retrieval import recall_ranks

    every = np.arange(len(texts))
    number = np.unique(texts, return_inverse=True)[1]
    forth = recall_ranks(first, every, second, number)
    back = recall_ranks(second, number, first, every)
    return [float((ranks <= top).mean()) for ranks in (forth, back) for top in TOPS]


def by_length(rows: list[dict]) -> list[float]:
    """The text whose number of letters comes nearest to the sound's seconds, in the same order."""
    from modelzoo.runtime.media.sounds import open_sound

    seconds = np.array([len(open_sound(one["audio"], 8000)) / 8000 for one in rows])
    letters = np.array([len(one["text"]) for one in rows], float)
    letters *= seconds.sum() / letters.sum()
    distance = np.abs(seconds[:, None] - letters[None, :])
    own = np.diag(distance)
    ranks = (distance <= own[:, None]).sum(1), (distance <= own[None, :]).sum(0)
    return [float((rank <= top).mean()) for rank in ranks for top in TOPS]


def cells(values: list[float], ways: tuple[str, str]) -> dict[str, float]:
    """Columns of what `figures` found, in %."""
    names = [f"{way} @{top}" for way in ways for top in TOPS]
    return dict(zip(names, map(percent, values), strict=True))


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--keep", type=Path, help="a folder for the packages")
    parser.add_argument("--quantize", default="int8")
    parser.add_argument("--set", action="append", default=[], help="train.epochs=2, for one")
    options = parser.parse_args()
    from modelzoo import export, load, read_recipe
    from modelzoo.recipe import parse_set
    from modelzoo.runtime import load as load_bundle
    from modelzoo.training.train import train

    augment = {"audio": {"shift": 0.1, "gain": 6.0, "noise": 0.05, "mask": 0.1}}
    changes = {
        "train.validation_fraction": 0.0,
        "train.epochs": 100,
        "task_options.augment": augment,
        **parse_set(options.set),
    }
    with tempfile.TemporaryDirectory() as temporary:
        cache, work = options.keep or Path(temporary), Path(temporary)
        fetch(cache)
        rows = prompts(cache)
        held_out = [one for one in rows if one["held_out"]]
        training = [
            {"audio": one["audio"], "text": one["text"]} for one in rows if not one["held_out"]
        ]
        print(f"{len(training)} prompts to train on, {len(held_out)} held out")
        start = time.monotonic()
        train(read_recipe("clap-tiny", changes), training, work / "model")
        minutes = round((time.monotonic() - start) / 60, 1)
        model = load(work / "model", compile=False)
        export(model, work / "bundle", quantize=options.quantize)
        bundle = load_bundle(work / "bundle")

        texts = [one["text"] for one in held_out]
        chance = [min(1, top / len(set(texts))) for _ in range(2) for top in TOPS]
        found = {"chance": chance, "length alone": by_length(held_out)}
        for name, one in (("Keras", model), (f"TFLite {options.quantize}", bundle)):
            sounds = one.embed_audio([row["audio"] for row in held_out], truncate=True)
            found[name] = figures(sounds, one.embed_text(texts, truncate=True), texts)
    ways = ("audio to text", "text to audio")
    rows = [{"system": name, **cells(values, ways)} for name, values in found.items()]
    write_result(
        "asterisk",
        {"recall in %, held out": rows, "cost": [{"minutes of training": minutes}]},
        packages=("keras", "tensorflow", "ai-edge-litert"),
        folder=options.results,
    )


if __name__ == "__main__":
    main()
