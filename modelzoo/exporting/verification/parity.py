"""How near two results are, and whether that is near enough. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelzoo.errors import ExportError
from modelzoo.exporting.quantization.precision import Mode

# Rounding grows through a deep model's residual stream, whose numbers are large: 3.6e-5 of the
# largest key was seen in the last of SmolLM2's 30 layers, and 1.5e-6 of the largest logit.
STATE_SLACK = 10


@dataclass(frozen=True)
class Difference:
    """A result against the one it should be.

    Attributes:
        max_abs_error: the largest difference of two numbers.
        cosine: between the two as vectors; 1 where both are all zeros.
        largest: the largest number of the right result.
        finite: no nan and no infinity in either.
        state: what goes back into the model, a cache for example, and not an answer by itself.
    """

    max_abs_error: float
    cosine: float
    largest: float
    finite: bool
    state: bool = False

    def allowed(self, mode: Mode) -> float:
        return mode.allowed(self.largest * (STATE_SLACK if self.state else 1))

    def worse(self, other: Difference | None) -> Difference:
        """The worst of both, figure by figure."""
        if other is None:
            return self
        return Difference(
            max(self.max_abs_error, other.max_abs_error),
            min(self.cosine, other.cosine),
            max(self.largest, other.largest),
            self.finite and other.finite,
            self.state,
        )

    def as_json(self, mode: Mode) -> dict:
        if not self.finite:
            return {"finite": False}
        return {
            "max_abs_error": self.max_abs_error,
            "allowed": self.allowed(mode),
            "cosine": self.cosine,
            "largest": self.largest,
        }


def difference(found: np.ndarray, right: np.ndarray, state: bool = False) -> Difference:
    """Measure one tensor; the shapes must be equal."""
    if found.shape != right.shape:
        raise ExportError(f"the bundle gives shape {found.shape} where Keras gives {right.shape}")
    if not (np.isfinite(found).all() and np.isfinite(right).all()):
        return Difference(0.0, 0.0, 0.0, False, state)
    a, b = found.astype(np.float64).ravel(), right.astype(np.float64).ravel()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    both_zero = not a.any() and not b.any()
    cosine = 1.0 if both_zero else float(a @ b) / norms if norms else 0.0
    error, largest = np.abs(a - b).max(initial=0.0), np.abs(b).max(initial=0.0)
    return Difference(float(error), cosine, float(largest), True, state)


def complaint(what: str, found: Difference, mode: Mode) -> str | None:
    """What is wrong with a difference, with the figures; None where it is near enough."""
    if not found.finite:
        return f"{what}: not a number (nan or infinite)"
    allowed = found.allowed(mode)
    if found.max_abs_error > allowed:
        return f"{what}: max error {found.max_abs_error:.3g}, allowed {allowed:.3g}"
    if found.cosine < mode.min_cosine and found.max_abs_error > mode.max_error / 100:
        return f"{what}: cosine {found.cosine:.6f}, at least {mode.min_cosine} is needed"
    return None
