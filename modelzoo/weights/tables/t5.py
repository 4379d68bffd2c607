"""T5, versions 1.0 and 1.1, mT5 and UMT5."""

from dataclasses import replace
from functools import partial

from modelzoo.errors import WeightsError
from modelzoo.weights.table import (
    ACTIVATIONS,
    Head,
    Rule,
    Table,
    Value,
    linear,
    rms_norm,
    rules,
    same,
)

_FEED_FORWARD = {
    "relu": ("relu", False),
    "gated-gelu": ("gelu_tanh", True),
    "gated-silu": ("silu", True),
}


def _attention(theirs: str, ours: str) -> tuple:
    parts = {"q": "query", "k": "key", "v": "value", "o": "output"}
    return rules(*(linear(f"{theirs}.{their}", f"{ours}/{our}") for their, our in parts.items()))


def _feed_forward(ffn: int) -> tuple[Rule, ...]:
    return rules(
        linear(f"{ffn}.DenseReluDense.wi", "ffn/up"),
        linear(f"{ffn}.DenseReluDense.wi_0", "ffn/gate"),
        linear(f"{ffn}.DenseReluDense.wi_1", "ffn/up"),
        linear(f"{ffn}.DenseReluDense.wo", "ffn/down"),
    )


def layer(side: str, ffn: int, feed_forward: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules of a layer of the encoder or decoder.

    Args:
        ffn: number of the feed-forward, the last of its sublayers.
        feed_forward: the rules of that one.
    """
    return rules(
        rms_norm("0.layer_norm", "attention_norm"),
        _attention("0.SelfAttention", "attention"),
        rms_norm("1.layer_norm", "cross_attention_norm") if ffn == 2 else (),
        _attention("1.EncDecAttention", "cross_attention") if ffn == 2 else (),
        rms_norm(f"{ffn}.layer_norm", "ffn_norm"),
        feed_forward,
        theirs=f"{side}.block.{{i}}.layer.",
        ours=f"{side}/block_{{i}}/",
    )


def _bias(side: str, layer: str, ours: str = "") -> tuple:
    theirs = f"{side}.block.{layer}.layer.0.SelfAttention.relative_attention_bias.weight"
    return rules(same(theirs, f"{side}/relative_bias{ours}/embeddings"))


def _stack(side: str) -> tuple:
    return rules(
        _bias(side, "0"),
        rms_norm(f"{side}.final_layer_norm", f"{side}/final_norm"),
    )


def heads(name: str) -> dict[str, Head]:
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    return {"seq2seq-lm": Head((name,), copies=dict.fromkeys(copies, "shared.weight"))}


def read(config, names, default: str = "relu") -> dict:
    kind = config.get("feed_forward_proj", default)
    if kind not in _FEED_FORWARD:
        raise WeightsError(
            f"feed_forward_proj {kind!r} is not supported",
            next_step=f"there is {', '.join(_FEED_FORWARD)}",
        )
    activation, gated = _FEED_FORWARD[kind]
    repeated = config.get("dense_act_fn"), config.get("is_gated_act")
    if repeated[0] is not None and ACTIVATIONS.get(repeated[0]) != activation:
        raise WeightsError(f"dense_act_fn {repeated[0]!r} with feed_forward_proj {kind!r}")
    if repeated[1] not in (None, gated):
        raise WeightsError(f"is_gated_act {repeated[1]!r} with feed_forward_proj {kind!r}")
    tied = config.get("tie_word_embeddings", True)
    # From version 5 on, transformers ties every T5, and says apart from that what v1.1 means.
    scaled = config.get("scale_decoder_outputs", tied)
    return {
        "activation": activation,
        "gated": gated,
        "tie_embeddings": bool(tied or "lm_head.weight" not in names),
        "scale_logits": bool(scaled),
        "num_decoder_layers": config.get("num_decoder_layers") or config["num_layers"],
    }


def _read_mt5(config, names) -> dict:
    """As T5, but its logits are never scaled, and tied where no others are stored.

    What config.json says of both depends on the version of transformers that wrote it.
    """
    tied = "lm_head.weight" not in names
    values = read(config, names, "gated-gelu")
    return {**values, "tie_embeddings": tied, "scale_logits": False}


def write(values) -> dict:
    kinds = {pair: kind for kind, pair in _FEED_FORWARD.items()}
    kind = kinds.get((values["activation"], values["gated"]))
    if kind is None:
        raise WeightsError(
            f"a t5 has no feed-forward layer with activation {values['activation']!r} and "
            f"gated = {values['gated']}"
        )
    return {
        "feed_forward_proj": kind,
        "tie_word_embeddings": values["tie_embeddings"],
        "scale_decoder_outputs": values["scale_logits"],
        "num_decoder_layers": values["num_decoder_layers"],
        "is_encoder_decoder": True,
    }


T5 = Table(
    model_type="t5",
    architecture="t5",
    prefix="",
    rules=rules(
        same("shared.weight", "encoder_embedding/tokens/embeddings"),
        _stack("encoder"),
        _stack("decoder"),
        linear("lm_head", "head"),
    ),
    layer_rules=layer("encoder", 1, _feed_forward(1)),
    decoder_rules=layer("decoder", 2, _feed_forward(2)),
    values=(
        Value("vocab_size", "vocab_size"),
        Value("d_model", "hidden_dim"),
        Value("num_layers", "num_layers"),
        Value("num_heads", "num_heads"),
        Value("d_kv", "head_dim"),
        Value("d_ff", "ffn_dim"),
        Value("n_positions", "max_length", 512),
        Value("relative_attention_num_buckets", "relative_buckets", 32),
        Value("relative_attention_max_distance", "relative_max_distance", 128),
        Value("layer_norm_epsilon", "norm_epsilon", 1e-6),
        Value("dropout_rate", "dropout", 0.1),
    ),
    fixed={"relative_each": False},
    heads=heads("T5ForConditionalGeneration"),
    # A table that old files hold and no model reads.
    aliases={
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    },
    ignored=(r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",),
    read=read,
    write=write,
)

MT5 = replace(
    T5,
    model_type="mt5",
    heads=heads("MT5ForConditionalGeneration"),
    read=_read_mt5,
    written_as="t5",
)

UMT5 = replace(
    T5,
    model_type="umt5",
    rules=tuple(rule for rule in T5.rules if "relative_bias" not in rule.ours[0]),
    layer_rules=(*T5.layer_rules, *_bias("encoder", "{i}", "_{i}")),
    decoder_rules=(*T5.decoder_rules, *_bias("decoder", "{i}", "_{i}")),
    fixed={"relative_each": True},
    heads=heads("UMT5ForConditionalGeneration"),
    unused=("scalable_attention",),
    read=partial(read, default="gated-gelu"),
)
