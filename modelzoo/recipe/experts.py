"""How a feed-forward layer is split into experts, as data: a recipe's `[model.experts]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from modelzoo.errors import RecipeError, nearest


@dataclass(frozen=True)
class ExpertsConfig:
    """A mixture of experts in place of the feed-forward layer (Shazeer et al. 2017).

    A router gives each token a probability for each expert, in float32. The `top_k` most probable
    ones process the token, and their outputs are added, each times its probability.

    Args:
        count: experts of a layer.
        top_k: experts that process a token: 1 in Switch, 2 in Mixtral.
        ffn_dim: width between the matrices of an expert. Default: the feed-forward layer's.
        normalize: divide the probabilities of the chosen experts by their sum (Mixtral).
        pattern: whether a layer has experts, repeated: `[False, True]` for every second one.
        shared_dim: width of an expert that processes every token; `None` has none.
        shared_gate: multiply the shared expert's output by a sigmoid of its own (Qwen2-MoE).
        capacity: in training, the most tokens that an expert processes, as a multiple of an equal
            share; later tokens skip it. `None` drops no token. Without training none is dropped.
        jitter: in training, multiply what the router reads by numbers from `1 - jitter` to
            `1 + jitter` (Fedus et al. 2022).
        balance_loss: weight of each layer's `count * sum(f * p)`, of the share of choices and the
            mean probability of an expert, over the tokens that are not padding: 1 where all are
            equal (Fedus et al. 2022, 2.2).
        z_loss: weight of the mean squared logarithm of the router's partition function (Zoph et al.
            2022).

    Raises:
        RecipeError: a value is out of range.

    Example:
        >>> ExpertsConfig(count=8).has_experts(3)
        True
    """

    count: int
    top_k: int = 2
    ffn_dim: int | None = None
    normalize: bool = True
    pattern: Sequence[bool] = (True,)
    shared_dim: int | None = None
    shared_gate: bool = False
    capacity: float | None = None
    jitter: float = 0.0
    balance_loss: float = 0.01
    z_loss: float = 0.0

    def __post_init__(self):
        for key in ("count", "top_k", "ffn_dim", "shared_dim"):
            value = getattr(self, key)
            if value is not None and (type(value) is not int or value < 1):
                raise RecipeError(f"experts.{key} must be a whole number, 1 or more, not {value!r}")
        if self.top_k > self.count:
            raise RecipeError(
                f"experts.top_k is {self.top_k}, and there are only {self.count} experts",
                next_step=f"set experts.top_k to {self.count} or less, or raise experts.count",
            )
        for key in ("capacity", "jitter", "balance_loss", "z_loss"):
            value = getattr(self, key)
            if value is not None and (type(value) not in (int, float) or not value >= 0):
                raise RecipeError(f"experts.{key} must be a number, 0 or more, not {value!r}")
        if self.capacity == 0:
            raise RecipeError(
                "experts.capacity is 0: no token would reach an expert",
                next_step="set it to 1.25, or leave it out to drop no token",
            )
        if self.jitter >= 1:
            raise RecipeError(f"experts.jitter must be below 1, not {self.jitter}")
        for key in ("normalize", "shared_gate"):
            if type(getattr(self, key)) is not bool:
                raise RecipeError(f"experts.{key} must be true or false")
        flags = self.pattern
        if isinstance(flags, str) or not flags or any(type(flag) is not bool for flag in flags):
            raise RecipeError(
                "experts.pattern must be a list of true and false, one or more, not "
                f"{flags if isinstance(flags, str) else list(flags)!r}"
            )
        if self.shared_gate and self.shared_dim is None:
            raise RecipeError(
                "experts.shared_gate needs a shared expert", next_step="set experts.shared_dim"
            )

    @classmethod
    def of(cls, table: Mapping[str, Any] | ExpertsConfig) -> ExpertsConfig:
        """The config of a recipe's table.

        Raises:
            RecipeError: a key is unknown, `count` is missing, or a value is out of range.

        Example:
            >>> ExpertsConfig.of({"count": 4, "top_k": 1}).top_k
            1
        """
        if isinstance(table, ExpertsConfig):
            return table
        known = [field.name for field in fields(cls)]
        for key in table:
            if key not in known:
                raise RecipeError(
                    f"experts has no {key!r}",
                    did_you_mean=nearest(key, known),
                    next_step=f"its keys are {', '.join(known)}",
                )
        if "count" not in table:
            raise RecipeError(
                "experts has no count", next_step="set experts.count, the experts of a layer"
            )
        return cls(**table)

    def has_experts(self, layer: int) -> bool:
        """Whether a layer has experts, by its number."""
        return self.pattern[layer % len(self.pattern)]
