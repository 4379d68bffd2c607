"""How exact a bundle's numbers are: the modes of `--quantize`, and what each must prove.

A mode is a row of `MODES`; which of them a format has, its `Format` says, and how it reaches them
is its exporter's own table.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelzoo.errors import ExportError, nearest
from modelzoo.exporting.formats.format import Format, core_formats

EXACT = "float32"  # the mode whose answers are Keras', but for the order of sums


@dataclass(frozen=True)
class Mode:
    """One precision.

    Attributes:
        name: as in `--quantize` and in the manifest.
        bytes_per_weight: what a weight occupies in the file.
        max_error: largest absolute error of an output against Keras, as long as the output's
            numbers stay small.
        relative: beyond that, the share of the output's largest number that an error may be.
        min_cosine: between an output and Keras'.
        same_text: whether greedy generation must give Keras' tokens, one by one.
        quantized: weights are whole numbers; a task's metric is then compared with float32 too.
        max_loss: how much the perplexity of held-out text may grow, as a share.
        max_drop: how much less of held-out texts may get the right label or neighbour.
    """

    name: str
    bytes_per_weight: float
    max_error: float
    relative: float
    min_cosine: float
    same_text: bool
    quantized: bool = False
    max_loss: float = 0.0
    max_drop: float = 0.0

    def allowed(self, largest: float) -> float:
        """The absolute error allowed in an output whose largest number is `largest`.

        >>> MODES["float32"].allowed(2.0), MODES["float32"].allowed(100.0)
        (0.0001, 0.001)
        """
        return max(self.max_error, self.relative * largest)


MODES = {
    mode.name: mode
    for mode in (
        # Sums in another order differ by about 1e-6 of the largest number; this leaves a margin.
        Mode("float32", 4, 1e-4, 1e-5, 0.9999, True),
        # Rounding to 11 bits is 5e-4 a weight at most; through a deep model it grew to 4e-3 of the
        # largest number, over every family of the zoo.
        Mode("float16", 2, 1e-2, 2e-2, 0.999, False),
        # What single numbers do says little of quantized answers: the direction of a whole output
        # is held instead, and what the answers are for.
        Mode("int8", 1, 0.1, 0.5, 0.99, False, True, 0.03, 0.05),
        Mode("int4", 0.5, 0.5, 1.0, 0.9, False, True, 0.10, 0.15),
    )
}


def mode_for(quantize: str | None, format: Format, preferred: str | None = None) -> Mode:
    """The mode of a name.

    None is what a recipe prefers, where the format states that it has it; else the format's own.

    >>> own = Format("acme/own", ("float32", "int8"), default="int8")
    >>> mode_for(None, own).name, mode_for(None, own, preferred="float32").name
    ('int8', 'float32')

    Raises:
        ExportError: no such mode, or not in this format.
    """
    if preferred in MODES and preferred not in (format.precisions or ()):
        preferred = None
    name = quantize or preferred or format.default
    if name not in MODES:
        raise ExportError(
            f"{name!r} is not a precision",
            did_you_mean=nearest(name, MODES),
            next_step=f"there is {', '.join(MODES)}",
        )
    if format.precisions is not None and name not in format.precisions:
        having = next(other for other in core_formats() if name in other.precisions)
        raise ExportError(
            f"the format {format.name} has no {name}; it has {', '.join(format.precisions)}",
            next_step=f"--format {having.name} has {name}",
        )
    return MODES[name]
