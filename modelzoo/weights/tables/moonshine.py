"""Moonshine."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Head, Rule, Table, Value, layer_norm, linear, rules, same


def _attention(theirs: str, ours: str, paired: bool) -> list[Rule]:
    parts = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "o_proj": "output"}
    return [
        Rule(
            f"{theirs}.{their}.weight",
            (f"{ours}/{our}/kernel",),
            transpose=True,
            paired=paired and our in ("query", "key"),
        )
        for their, our in parts.items()
    ]


def _layer(side: str) -> tuple:
    decoder = side == "decoder"
    # Their gated projection holds what is multiplied before what goes through the activation.
    up = ("ffn/up", "ffn/gate") if decoder else ("ffn/up",)
    between = "cross_attention_norm" if decoder else "ffn_norm"
    return rules(
        layer_norm("input_layernorm", "attention_norm"),
        _attention("self_attn", "attention", paired=True),
        layer_norm("post_attention_layernorm", between),
        _attention("encoder_attn", "cross_attention", paired=False) if decoder else (),
        layer_norm("final_layernorm", "ffn_norm") if decoder else (),
        linear("mlp.fc1", *up),
        linear("mlp.fc2", "ffn/down"),
        theirs=f"model.{side}.layers.{{i}}.",
        ours=f"{side}/block_{{i}}/",
    )


def _read(config, names) -> dict:
    heads = {config.get(f"{side}_num_attention_heads", 8) for side in ("encoder", "decoder")}
    heads |= {config.get(f"{side}_num_key_value_heads") for side in ("encoder", "decoder")}
    heads.discard(None)
    if len(heads) > 1:
        raise WeightsError("a Moonshine whose heads are not all as many is not supported")
    if config.get("encoder_hidden_act", "gelu") != "gelu":
        raise WeightsError("a Moonshine whose encoder has another activation than gelu")
    rotary = config.get("rope_parameters") or config
    if rotary.get("rope_type", "default") != "default":
        raise WeightsError(f"rotary positions of the type {rotary['rope_type']!r} in a Moonshine")
    fraction = config.get("partial_rotary_factor")
    return {
        "num_heads": heads.pop(),
        "num_decoder_layers": config.get("decoder_num_hidden_layers", 6),
        "rotary_theta": float(rotary.get("rope_theta", 10_000.0)),
        "rotary_fraction": float(rotary.get("partial_rotary_factor") or fraction or 0.9),
    }


def _write(values) -> dict:
    heads = values["num_heads"]
    rotary = {
        "rope_type": "default",
        "rope_theta": values["rotary_theta"],
        "partial_rotary_factor": values["rotary_fraction"],
    }
    return {
        "encoder_num_attention_heads": heads,
        "decoder_num_attention_heads": heads,
        "encoder_num_key_value_heads": heads,
        "decoder_num_key_value_heads": heads,
        "decoder_num_hidden_layers": values["num_decoder_layers"],
        "encoder_hidden_act": "gelu",
        "rope_parameters": rotary,
        "partial_rotary_factor": values["rotary_fraction"],
        "is_encoder_decoder": True,
    }


MOONSHINE = Table(
    model_type="moonshine",
    architecture="moonshine",
    prefix="model.",
    rules=rules(
        linear("encoder.conv1", "stem/first"),
        linear("encoder.conv2", "stem/second"),
        linear("encoder.conv3", "stem/third"),
        layer_norm("encoder.groupnorm", "stem"),
        layer_norm("encoder.layer_norm", "encoder/final_norm"),
        same("decoder.embed_tokens.weight", "decoder_embedding/tokens/embeddings"),
        layer_norm("decoder.norm", "decoder/final_norm"),
        theirs="model.",
    ),
    layer_rules=_layer("encoder"),
    decoder_rules=_layer("decoder"),
    values=(
        Value("vocab_size", "vocab_size", 32_768),
        Value("hidden_size", "hidden_dim", 288),
        Value("intermediate_size", "ffn_dim", 1152),
        Value("encoder_num_hidden_layers", "num_layers", 6),
        Value("max_position_embeddings", "max_length", 512),
        Value("attention_dropout", "attention_dropout", 0.0),
    ),
    neutral={"pad_head_dim_to_multiple_of": None},
    assumed={
        "attention_bias": False,
        "decoder_hidden_act": "silu",
        "tie_word_embeddings": True,
    },
    heads={
        "speech-to-text": Head(
            ("MoonshineForConditionalGeneration",),
            copies={"proj_out.weight": "model.decoder.embed_tokens.weight"},
        )
    },
    read=_read,
    write=_write,
)
