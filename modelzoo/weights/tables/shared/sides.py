"""What BART, Whisper, CLIP and SigLIP have in common: how attention and a layer are named."""

from modelzoo.weights.table import layer_norm, linear, rules


def attention(theirs: str, ours: str) -> tuple:
    """The four projections of an attention, `q_proj` and so on."""
    parts = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "output"}
    return rules(*(linear(f"{theirs}.{their}", f"{ours}/{our}") for their, our in parts.items()))


def layer(side: str) -> tuple:
    """A post- or pre-norm layer of the "encoder", or of the "decoder" that attends to it."""
    return rules(
        attention("self_attn", "attention"),
        layer_norm("self_attn_layer_norm", "attention_norm"),
        attention("encoder_attn", "cross_attention") if side == "decoder" else (),
        layer_norm("encoder_attn_layer_norm", "cross_attention_norm") if side == "decoder" else (),
        linear("fc1", "ffn/up"),
        linear("fc2", "ffn/down"),
        layer_norm("final_layer_norm", "ffn_norm"),
        theirs=f"model.{side}.layers.{{i}}.",
        ours=f"{side}/block_{{i}}/",
    )
