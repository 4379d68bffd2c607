"""The `[export]` table: the arguments of the model's own `export_signatures`, and those below."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from modelzoo.errors import ExportError
from modelzoo.exporting.quantization.precision import Mode
from modelzoo.recipe import Recipe, override
from modelzoo.recipe.schema import validate_against


@dataclass(frozen=True, kw_only=True)
class VocabularyOptions:
    """What `[export]` says of the vocabulary.

    Args:
        vocabulary: a file of texts that the vocabulary is cut to; `None` leaves it whole.
        vocabulary_size: tokens that are left. Default: those that the texts need.
    """

    vocabulary: str | None = None
    vocabulary_size: int | None = None

    def __post_init__(self):
        if self.vocabulary is None and self.vocabulary_size is not None:
            raise ExportError(
                f"export.vocabulary_size is {self.vocabulary_size:,}, and export.vocabulary, the "
                "file of texts whose pieces are kept, is missing",
                next_step="--vocabulary corpus.txt",
            )


_VOCABULARY = inspect.signature(VocabularyOptions).parameters


def vocabulary_options(model, given: dict) -> VocabularyOptions:
    """What the recipe's `[export]` table under what was given says of the vocabulary.

    Raises:
        RecipeError: as `export_options`.
        ExportError: a size without a file of texts.
    """
    table = _table(model, given)
    return VocabularyOptions(**{key: table[key] for key in _VOCABULARY if key in table})


def export_options(model, given: dict) -> dict:
    """The arguments of the model's `export_signatures`: the recipe's `[export]` table under what
    was given, checked against the model.

    Raises:
        RecipeError: an option that the model does not have (with the nearest), or of a wrong type.
        ExportError: a length that is not positive, or longer than the model reads.
    """
    for name, value in given.items():
        limit = getattr(getattr(model, "backbone", None), "max_length", None)
        if name in ("max_length", "source_length") and isinstance(value, int) and limit:
            if value > limit:
                raise ExportError(
                    f"export.{name} is {value}, and the model reads {limit} tokens at most",
                    next_step=f"take {limit} or less, or build a model with a longer max_length",
                )
    table = _table(model, given)
    options = {key: value for key, value in table.items() if key not in _VOCABULARY}
    for name, value in options.items():
        if name.endswith("_length") and isinstance(value, int) and value < 1:
            raise ExportError(f"export.{name} must be 1 or more, not {value}")
    return options


def _table(model, given: dict) -> dict:
    recipe: Recipe = override(model.recipe, {f"export.{key}": v for key, v in given.items()})
    return validate_against(recipe, _keyword_only(model.export_signatures), table="export")


def check_cache(options: dict, mode: Mode) -> None:
    """Refuse an int8 cache in a bundle that must answer as Keras does to the last digits."""
    if options.get("kv_cache") == "int8" and not mode.quantized:
        raise ExportError(
            f"export.kv_cache is int8, which a bundle in {mode.name} has no tolerance for",
            next_step="--quantize int8 or int4, or leave export.kv_cache out",
        )


def _keyword_only(method):
    """The method with a signature that can serve as a schema, of the whole table."""

    def schema() -> None: ...

    signature = inspect.signature(method)
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
    ]
    parameters += _VOCABULARY.values()
    schema.__wrapped__ = method
    schema.__signature__ = signature.replace(parameters=parameters)
    return schema
