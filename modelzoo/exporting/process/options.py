"""The `[export]` table: the arguments of the model's own `export_signatures`."""

from __future__ import annotations

import inspect

from modelzoo.errors import ExportError
from modelzoo.exporting.quantization.precision import Mode
from modelzoo.recipe import Recipe, override
from modelzoo.recipe.schema import validate_against


def export_options(model, given: dict) -> dict:
    """The recipe's `[export]` table under what was given, checked against the model.

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
    recipe: Recipe = override(model.recipe, {f"export.{key}": v for key, v in given.items()})
    options = validate_against(recipe, _keyword_only(model.export_signatures), table="export")
    for name, value in options.items():
        if name.endswith("_length") and isinstance(value, int) and value < 1:
            raise ExportError(f"export.{name} must be 1 or more, not {value}")
    return options


def check_cache(options: dict, mode: Mode) -> None:
    """Refuse an int8 cache in a bundle that must answer as Keras does to the last digits."""
    if options.get("kv_cache") == "int8" and not mode.quantized:
        raise ExportError(
            f"export.kv_cache is int8, which a bundle in {mode.name} has no tolerance for",
            next_step="--quantize int8 or int4, or leave export.kv_cache out",
        )


def _keyword_only(method):
    """The method with a signature that can serve as a schema."""

    def schema() -> None: ...

    signature = inspect.signature(method)
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
    ]
    schema.__wrapped__ = method
    schema.__signature__ = signature.replace(parameters=parameters)
    return schema
