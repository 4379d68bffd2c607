"""What an export is going to cost, estimated before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelzoo.building.directory import MODEL_FILE
from modelzoo.recipe import Recipe
from modelzoo.registry import components

__all__ = ["Estimate", "estimate"]

# Seconds and bytes of memory of any export, and for each parameter: of models that write token by
# token, each of whose signatures holds the weights while it is converted, and of others. A rule for
# int8 and TFLite, from SmolLM2-135M (143 s, 7.9 GB: benchmarks/results/export.json), GPT-2 small
# (126 s of processor, 5.8 GB), GPT tiny (18 s, 0.8 GB) and MiniLM-L6 (17 s, 1.6 GB).
FIXED = (12.0, 0.8e9)
STEPWISE, WHOLE = (1.0e-6, 50.0), (0.25e-6, 40.0)

_WRITE = {"generate", "caption", "transcribe"}  # abilities of models that go step by step


@dataclass(frozen=True)
class Estimate:
    """Of an export.

    Attributes:
        seconds: on two cores that do nothing else.
        memory: bytes.
    """

    seconds: float
    memory: float

    def __str__(self) -> str:
        minutes = self.seconds / 60
        time = f"{minutes:.0f} min" if minutes >= 1.5 else f"{round(self.seconds, -1):.0f} s"
        return f"about {time}, {self.memory / 1e9:.1f} GB of memory"


def estimate(recipe: Recipe, model: object) -> Estimate | None:
    """The time and memory that `export_bundle(model)` needs, by the number of parameters.

    Args:
        recipe: the model's.
        model: as `export_bundle` takes it.

    Returns: `None` where the number of parameters is not known.

    Example:
        >>> str(estimate(modelzoo.read_recipe("gpt-small"), "gpt-small"))
        'about 2 min, 7.0 GB of memory'
    """
    count = _parameters(recipe, model)
    if count is None:
        return None
    able = components.stated(recipe.task, "abilities") if recipe.task else None
    each = STEPWISE if _WRITE & set(able or _WRITE) else WHOLE
    return Estimate(*(fixed + rate * count for fixed, rate in zip(FIXED, each, strict=True)))


def _parameters(recipe: Recipe, model: object) -> int | None:
    if hasattr(model, "count_params"):
        return model.count_params()
    file = Path(str(model), MODEL_FILE)
    return file.stat().st_size // 4 if file.is_file() else recipe.parameters
