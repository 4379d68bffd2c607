"""The recipes of this package, from KerasHub's source: `python -m modelzoo_kerashub.generate`.

One file for each backbone, and one catalogue, `recipes.toml`, of what has no values of its own: the
presets, the tasks over a backbone, and the other names of one. They are
committed and packed, so that listing reads plain files; this is run again for another version of
KerasHub. With `--count` the small models are built, and their parameters counted, which imports it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from modelzoo_kerashub import index
from modelzoo_kerashub.families import CARRIED
from modelzoo_kerashub.sizes import EXPORT, LENGTH, small_values

__all__ = ["TASKS", "entry_points", "recipes", "texts", "write"]

# KerasHub's base classes of tasks that have a task here, by entry point.
TASKS = {
    "CausalLM": "causal-lm",
    "ImageClassifier": "image-classifier",
    "ImageSegmenter": "image-segmenter",
    "MaskedLM": "masked-lm",
    "Seq2SeqLM": "seq2seq-lm",
    "TextClassifier": "text-classifier",
}
# Presets of families that can be carried, and that see or give one vector a text: the core's
# decoder does neither.
_NOT_A_DECODER = ("vision", "multimodal", "embedding", "encoder-only")
# A task whose constructor asks its preprocessor for the tokenizer.
_NEEDS_TOKENIZER = ("PARSeqCausalLM",)
COUNTS = Path(__file__).parent / "counts.json"
_SAFE = re.compile(r"[A-Za-z0-9][\w.-]*")


def recipes() -> dict[str, dict]:
    """Short name -> the values of its recipe."""
    found = {
        "preset": {
            "summary": "Any KerasHub preset: --set preset=DIR, hf://user/name, kaggle://...",
            "architecture": "kerashub/preset",
            "task": "kerashub/features",
            "reference": "keras_hub.models.Backbone.from_preset",
        },
        "decoder": {
            "summary": "Any KerasHub preset of a family of the core's: --set preset=hf://user/name",
            "architecture": "kerashub/decoder",
            "task": "causal-lm",
            "reference": "keras_hub.models.Backbone.from_preset",
        },
    }
    for backbone in index.backbones().values():
        found[backbone.name] = _backbone(backbone)
    for alias, backbone in index.backbones().items():
        if alias != backbone.name:
            summary = f"{backbone.name} by another name"
            found[alias] = {"extends": f"kerashub/{backbone.name}", "summary": summary}
    for task in index.tasks().values():
        alone = not task.needs and task.name not in _NEEDS_TOKENIZER
        if task.kind in TASKS and task.backbone in index.backbones() and alone:
            found[task.name] = {
                "extends": f"kerashub/{index.backbones()[task.backbone].name}",
                "summary": f"KerasHub {task.name} over a small {task.backbone}",
                "task": f"kerashub/{TASKS[task.kind]}",
            }
    for name in CARRIED:
        found[name.replace("Backbone", "Decoder")] = _decoder(index.backbone(name))
    for name, parameters in json.loads(COUNTS.read_text(encoding="utf-8")).items():
        if name in found:
            found[name]["parameters"] = parameters
    for preset in index.presets().values():
        if _SAFE.fullmatch(preset.name):
            found[preset.name] = _preset(preset)
    return found


def texts() -> dict[str, str]:
    """Path in the package -> TOML text: the catalogue, and a file for each recipe with values."""
    from modelzoo.recipe import dumps

    found = recipes()
    short = {name: found.pop(name) for name in list(found) if _is_short(name, found[name])}
    files = {f"recipes/{name}.toml": dumps(values) for name, values in found.items()}
    return {"recipes.toml": dumps(short), **files}


def write(package: Path) -> list[Path]:
    """All recipes as TOML files in `package`; files of recipes that are no more are removed."""
    wanted = {package / name: text for name, text in texts().items()}
    folder = package / "recipes"
    folder.mkdir(exist_ok=True)
    for path in {*folder.glob("*.toml")} - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return sorted(wanted)


def count() -> dict[str, int]:
    """The parameters of every small model: each is built."""
    import modelzoo

    counted = {}
    for name, values in recipes().items():
        if "preset" in f"{name}{values}" or name == "decoder":
            continue
        try:
            counted[name] = modelzoo.build(f"kerashub/{name}", compile=False).count_params()
        except Exception as error:
            print(f"{name} is not counted: {type(error).__name__}: {error}", file=sys.stderr)
    return counted


def entry_points() -> str:
    """The lines of `[project.entry-points."modelzoo.architectures"]` in pyproject.toml."""
    names = sorted([*index.backbones(), "decoder", "preset"])
    return "".join(f'{name} = "modelzoo_kerashub.architectures:{name}"\n' for name in names)


def write_entry_points(project: Path) -> None:
    """Replaces those lines of `project`, a pyproject.toml, where they are others."""
    text = project.read_text(encoding="utf-8")
    pattern = r'(\[project\.entry-points\."modelzoo\.architectures"\]\n)(?:[^\[\n].*\n)*'
    new = re.sub(pattern, lambda found: found[1] + entry_points(), text)
    if new != text:
        project.write_text(new, encoding="utf-8")


def _backbone(backbone: index.Backbone) -> dict:
    export = dict(EXPORT.get(backbone.name, {}))
    if any("vocab" in argument.name for argument in backbone.arguments) or "Encoder" in str(
        small_values(backbone)
    ):
        export = {"length": LENGTH, **export}
    values: dict = {
        "summary": f"KerasHub {backbone.name}, small: {_short(backbone.summary)}",
        "architecture": f"kerashub/{backbone.name}",
        "task": "kerashub/features",
        "reference": backbone.reference,
        "model": small_values(backbone),
    }
    return {**values, "export": export} if export else values


def _decoder(backbone: index.Backbone) -> dict:
    return {
        "summary": f"KerasHub {backbone.name}, small, in the zoo's core: with a cache on a device",
        "architecture": "kerashub/decoder",
        "task": "causal-lm",
        "reference": backbone.reference,
        "model": {
            "backbone": backbone.name,
            "values": {**small_values(backbone), "vocabulary_size": 512},
            "max_length": 64,
        },
    }


def _preset(preset: index.Preset) -> dict:
    count = f", {preset.parameters:,} parameters" if preset.parameters else ""
    seen = any(word in preset.summary.lower() for word in _NOT_A_DECODER)
    carried = preset.backbone in CARRIED and not seen
    return {
        "summary": f"KerasHub preset: {_short(preset.summary)}{count}",
        "architecture": "kerashub/decoder" if carried else "kerashub/preset",
        "task": "causal-lm" if carried else "kerashub/features",
        "reference": preset.handle or index.backbone(preset.backbone).reference,
        "model": {"preset": preset.name},
    }


def _is_short(name: str, values: dict) -> bool:
    """Whether its tables say nothing, or no more than the name of a built-in preset."""
    tables = {key: item for key, item in values.items() if isinstance(item, dict)}
    return tables in ({}, {"model": {"preset": name}})


def _short(text: str) -> str:
    """One sentence, so that a list stays readable."""
    return re.split(r"(?<=[a-z0-9)])\. ", text)[0].replace('"', "'")[:160]


if __name__ == "__main__":
    here = Path(__file__).parent
    if "--count" in sys.argv[1:]:
        COUNTS.write_text(json.dumps(count(), indent=0) + "\n", encoding="utf-8")
    print(f"{len(recipes())} recipes in {len(write(here))} files in {here}")
    if (here.parent / "pyproject.toml").is_file():  # a checkout
        write_entry_points(here.parent / "pyproject.toml")
    sys.exit(0)
