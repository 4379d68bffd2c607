"""How large a file may be, given its weights."""

from __future__ import annotations

from modelzoo.errors import ExportError

MARGIN = 1.05
SLACK = 1 << 16  # headers and indices
TABLES = 8 << 20  # what a converter computes beforehand: masks, positions, T5's distances


def check_size(what: str, found: int, expected: int, slack: int) -> None:
    """Refuse `found` bytes where `expected` bytes of weights call for fewer."""
    allowed = int(MARGIN * expected) + slack
    if found > allowed:
        raise ExportError(
            f"{what} {found:,} bytes, and {allowed:,} are allowed (1.05 x the {expected:,} that "
            f"the weights need once, and {slack:,})",
            next_step="look for a weight that is transposed, scaled or cast before each use",
        )
