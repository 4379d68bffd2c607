"""Experts of decoders: one tensor for each expert in a file, and all of a layer in one of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Rule, Value, linear, rules
from modelzoo.weights.tables.shared.rotary import shortest_period

# What each of these model types has one value of.
FIXED: dict[str, Any] = {"experts.shared_dim": None, "experts.shared_gate": False}
CHOICES = Value("num_experts_per_tok", "experts.top_k")
BALANCE = Value("router_aux_loss_coef", "experts.balance_loss", 0.001)
UNUSED = ("output_router_logits",)


def expert_rules(block: str, gate: str, up: str, down: str) -> tuple[Rule, ...]:
    """The router and the experts of a layer.

    Args:
        block: their name of the layer's experts: `mlp`.
        gate, up, down: their names of an expert's matrices.

    Example:
        >>> expert_rules("mlp", "gate_proj", "up_proj", "down_proj")[1].theirs
        'mlp.experts.{h}.gate_proj.weight'
    """
    matrices = (("gate", gate, False), ("up", up, False), ("down", down, True))
    return rules(
        linear(f"{block}.gate", "ffn/router")[:1],
        (
            Rule(
                f"{block}.experts.{{h}}.{theirs}.weight",
                (f"ffn/{ours}",),
                transpose=turned,
                stacked="experts.count",
            )
            for ours, theirs, turned in matrices
        ),
    )


def shared_rules(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules of a gated feed-forward layer as those of a shared expert, and of its gate."""
    named = {"mlp.": "mlp.shared_expert.", "ffn/": "ffn/shared/"}
    found = []
    for rule in rules:
        theirs = rule.theirs.replace("mlp.", named["mlp."])
        ours = tuple(path.replace("ffn/", named["ffn/"]) for path in rule.ours)
        found.append(replace(rule, theirs=theirs, ours=ours))
    return (*found, *linear("mlp.shared_expert_gate", "ffn/gating")[:1])


def need_experts(values: Mapping) -> None:
    """
    Raises:
        WeightsError: the model has no experts.
    """
    if values.get("experts") is None:
        raise WeightsError("this model has no experts")


def need_whole_layers(values: Mapping) -> None:
    """
    Raises:
        WeightsError: a layer has no experts, or experts of another width than `ffn_dim`.
    """
    need_experts(values)
    if not all(values["experts.pattern"]):
        raise WeightsError("this model has layers without experts")
    if values["experts.ffn_dim"] != values["ffn_dim"]:
        raise WeightsError(
            f"this model has experts of width {values['experts.ffn_dim']} and ffn_dim "
            f"{values['ffn_dim']}"
        )


def read_sparse_layers(config: Mapping) -> dict[str, list[bool]]:
    """`experts.pattern` of Qwen: every `decoder_sparse_step`th layer, without `mlp_only_layers`."""
    step, dense = config.get("decoder_sparse_step", 1), config.get("mlp_only_layers") or ()
    layers = range(config["num_hidden_layers"])
    found = [(i + 1) % step == 0 and i not in dense for i in layers]
    if not any(found):
        raise WeightsError(
            "decoder_sparse_step and mlp_only_layers leave no layer with experts",
            next_step="say that it is the model type without experts",
        )
    return {"experts.pattern": shortest_period(found)}


def write_sparse_layers(values: Mapping) -> dict[str, Any]:
    need_experts(values)
    pattern = values["experts.pattern"]
    step = len(pattern)
    if list(pattern) == [False] * (step - 1) + [True]:
        return {"decoder_sparse_step": step, "mlp_only_layers": []}
    dense = [i for i in range(values["num_layers"]) if not pattern[i % step]]
    return {"decoder_sparse_step": 1, "mlp_only_layers": dense}
