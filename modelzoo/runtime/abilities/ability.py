"""What the abilities share that are mixed into `runtime.Model`."""

from __future__ import annotations

from collections.abc import Mapping

from modelzoo.errors import ModelzooError
from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.engines.base import SteppingEngine
from modelzoo.runtime.text.tokenizer import Tokenizer


class Ability:
    """Base of the abilities; `runtime.Model` describes the attributes and sets them."""

    bundle: Bundle
    manifest: dict
    task: str
    tokenizer: Tokenizer | None
    engine: SteppingEngine
    abilities: tuple[str, ...]
    _processing: Mapping

    def _need(self, ability: str) -> None:
        if ability in self.abilities:
            return
        able = " and ".join(f"`{name}`" for name in self.abilities) or "run signatures by name"
        raise ModelzooError(
            f"{self.manifest['name']} ({self.task}) cannot `{ability}`; it can {able}",
            where=self.bundle.directory,
        )

    @property
    def _text(self) -> Tokenizer:
        """The tokenizer of a model whose ability needs one: `_need` has asked for it."""
        assert self.tokenizer is not None
        return self.tokenizer
