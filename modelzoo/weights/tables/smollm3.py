"""SmolLM3: a Llama of which every fourth layer has no rotary positions."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Table, Value, activation
from modelzoo.weights.tables.llama import (
    FIXED,
    PRE_NORMS,
    SIZES,
    WINDOW,
    decoder,
    read_heads,
    write_heads,
)
from modelzoo.weights.tables.shared.rotary import (
    read_rotary,
    read_windows,
    shortest_period,
    write_rotary,
    write_windows,
)


def _read(config, names) -> dict:
    layers, turning = config["num_hidden_layers"], config.get("no_rope_layers")  # 1: it has them
    every = config.get("no_rope_layer_interval", 4)
    if turning is None:
        turning = [(i + 1) % every for i in range(layers)]
    if len(turning) < layers:
        raise WeightsError(f"no_rope_layers names {len(turning)} of {layers} layers")
    turning = [bool(one) for one in turning[:layers]]
    used = bool(config.get("use_sliding_window"))
    is_local = used and config.get("sliding_window") is not None
    kinds = ["local" if is_local and not one else "global" for one in turning]
    return {
        **read_heads(config, kv_heads=4),
        **read_rotary(config, 2_000_000.0),
        **read_windows(config, kinds, used=used),
        "rotary_pattern": shortest_period(turning),
    }


def _write(values) -> dict:
    pattern, layers = values["rotary_pattern"], values["num_layers"]
    turning = [int(pattern[i % len(pattern)]) for i in range(layers)]
    if all(turning):  # a Llama says that as well
        raise WeightsError("a smollm3 has layers without rotary positions, and this model has none")
    windows = write_windows(values)
    return {
        **write_heads(values),
        **write_rotary(values, everywhere=False),
        **windows,
        "use_sliding_window": windows["sliding_window"] is not None,
        "no_rope_layers": turning,
    }


SMOLLM3 = Table(
    model_type="smollm3",
    **decoder(PRE_NORMS, "SmolLM3"),
    values=(
        *SIZES,
        Value("tie_word_embeddings", "tie_embeddings", True),
        Value("attention_bias", "attention_bias", False),
        Value("mlp_bias", "ffn_bias", False),
        activation("hidden_act", default="silu"),
    ),
    fixed={key: value for key, value in FIXED.items() if key != "ffn_bias"},
    unused=WINDOW,
    read=_read,
    write=_write,
)
