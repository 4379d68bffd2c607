"""How exact a bundle's numbers are: the modes of `--quantize`, and what each must prove.

A mode is a row of `MODES`; how a format reaches it is that exporter's own table.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelzoo.errors import ExportError, nearest

DEFAULT = "float32"
# Devices have little memory, and it is what a token waits for.
OF_DEVICES = {"tflite": "int8", "litertlm": "int8"}


@dataclass(frozen=True)
class Mode:
    """One precision.

    Attributes:
        name: as in `--quantize` and in the manifest.
        bytes_per_weight: what a weight takes in the file.
        max_error: largest absolute error of an output against Keras, as long as the output's
            numbers stay small.
        relative: beyond that, the share of the output's largest number that an error may be.
        min_cosine: between an output and Keras'.
        same_text: whether greedy generation must give Keras' tokens, one by one.
        formats: those of the core's formats that have the mode.
        quantized: weights are whole numbers; a task's metric is then held against float32 too.
        max_loss: how much the perplexity of held-out text may grow, as a share.
        max_drop: how much less of held-out texts may get the right label or neighbour.
    """

    name: str
    bytes_per_weight: float
    max_error: float
    relative: float
    min_cosine: float
    same_text: bool
    formats: tuple[str, ...]
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
        Mode("float32", 4, 1e-4, 1e-5, 0.9999, True, ("tflite", "savedmodel", "litertlm")),
        # Rounding to 11 bits is 5e-4 a weight at most; through a deep model it grew to 4e-3 of the
        # largest number, over every family of the zoo.
        Mode("float16", 2, 1e-2, 2e-2, 0.999, False, ("tflite", "litertlm")),
        # What single numbers do says little of quantized answers: the direction of a whole output
        # is held instead, and what the answers are for.
        Mode("int8", 1, 0.1, 0.5, 0.99, False, ("tflite", "litertlm"), True, 0.03, 0.05),
        Mode("int4", 0.5, 0.5, 1.0, 0.9, False, ("tflite", "litertlm"), True, 0.10, 0.15),
    )
}


def mode_for(quantize: str | None, format: str, preferred: str | None = None) -> Mode:
    """The mode of a name.

    None is what a recipe prefers, where the format has it; else int8 in the formats for devices,
    and float32 in others.

    >>> mode_for(None, "tflite").name, mode_for(None, "savedmodel").name
    ('int8', 'float32')

    Raises:
        ExportError: no such mode, or not in this format.
    """
    if preferred in MODES and format not in MODES[preferred].formats:
        preferred = None
    name = quantize or preferred or OF_DEVICES.get(format, DEFAULT)
    if name not in MODES:
        raise ExportError(
            f"{name!r} is not a precision",
            did_you_mean=nearest(name, MODES),
            next_step=f"there is {', '.join(MODES)}",
        )
    mode = MODES[name]
    of_core = {one for other in MODES.values() for one in other.formats}
    if format in of_core and format not in mode.formats:
        fitting = [other.name for other in MODES.values() if format in other.formats]
        raise ExportError(
            f"the format {format} has no {name}; it has {', '.join(fitting)}",
            next_step=f"--format {mode.formats[0]} has {name}",
        )
    return mode
