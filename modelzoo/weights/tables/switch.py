"""Switch Transformers: a T5 of which some layers have experts, one for each token."""

from dataclasses import replace

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Rule, Value, linear, rules
from modelzoo.weights.tables.shared import experts
from modelzoo.weights.tables.shared.rotary import shortest_period
from modelzoo.weights.tables.t5 import T5, heads, layer, read, write


def _feed_forward(ffn: int) -> tuple[Rule, ...]:
    expert = f"{ffn}.mlp.experts.expert_{{h}}"
    return rules(
        linear(f"{ffn}.mlp.wi", "ffn/up"),
        linear(f"{ffn}.mlp.wo", "ffn/down"),
        linear(f"{ffn}.mlp.router.classifier", "ffn/router")[:1],
        [Rule(f"{expert}.wi.weight", ("ffn/up",), stacked="experts.count")],
        [Rule(f"{expert}.wo.weight", ("ffn/down",), transpose=True, stacked="experts.count")],
    )


def _pattern(layers: int, sparse: int) -> list[bool]:
    """Which of a side's layers have experts."""
    step = layers // sparse if sparse else 0
    return [step == 1 or (step > 1 and i % step == 1) for i in range(layers)]


def _read(config, names) -> dict:
    values = read(config, names)
    sides = [
        shortest_period(_pattern(layers, config.get(f"num_sparse_{side}_layers", 3)))
        for side, layers in (
            ("encoder", config["num_layers"]),
            ("decoder", values["num_decoder_layers"]),
        )
    ]
    if sides[0] != sides[1]:
        raise WeightsError(
            "the experts of the encoder and of the decoder are in different layers, which is not "
            "supported"
        )
    if not any(sides[0]):
        raise WeightsError("num_sparse_encoder_layers leaves no layer with experts")
    return {**values, "experts.pattern": sides[0]}


def _write(values) -> dict:
    experts.need_experts(values)
    if values["experts.ffn_dim"] != values["ffn_dim"]:
        raise WeightsError("a switch_transformers has experts as wide as its other layers")
    pattern, found = list(values["experts.pattern"]), {}
    for side, key in (("encoder", "num_layers"), ("decoder", "num_decoder_layers")):
        layers = values[key]
        wanted = [pattern[i % len(pattern)] for i in range(layers)]
        sparse = layers // len(pattern)
        if _pattern(layers, sparse) != wanted:
            raise WeightsError(
                f"a switch_transformers has experts in every n-th layer, and not in {pattern}"
            )
        found[f"num_sparse_{side}_layers"] = sparse
    kept = {key: value for key, value in write(values).items() if key != "feed_forward_proj"}
    # As many as a text has tokens, so that no token is dropped without training either.
    own = {"dense_act_fn": values["activation"], "expert_capacity": values["max_length"]}
    return {**kept, **found, **own}


SWITCH = replace(
    T5,
    model_type="switch_transformers",
    layer_rules=layer("encoder", 1, _feed_forward(1)),
    decoder_rules=layer("decoder", 2, _feed_forward(2)),
    values=(
        *T5.values,
        Value("num_experts", "experts.count"),
        Value("router_jitter_noise", "experts.jitter", 0.01),
        Value("router_aux_loss_coef", "experts.balance_loss", 0.001),
        Value("router_z_loss_coef", "experts.z_loss", 0.001),
    ),
    fixed={
        **{"relative_each": False, "activation": "relu", "gated": False},
        **{**experts.FIXED, "experts.top_k": 1, "experts.normalize": False},
    },
    assumed={"router_bias": False, "router_dtype": "float32"},
    neutral={"router_type": "tokens_masked"},
    # transformers drops what is above expert_capacity in every use of a model; here, training does.
    unused=(
        *("expert_capacity", "router_ignore_padding_tokens", "add_router_probs"),
        *("encoder_sparse_step", "decoder_sparse_step"),
    ),
    heads=heads("SwitchTransformersForConditionalGeneration"),
    read=_read,
    write=_write,
)
