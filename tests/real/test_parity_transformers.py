"""The same weights give the same numbers as in `transformers`, tensor by tensor.

Each table below says where a weight of ours is found there; `{i}` is the block. Nothing is
downloaded: both models are small, and get random weights, biases and gains included.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from modelzoo import registry  # noqa: E402
from modelzoo.tasks.causal_lm import CausalLM  # noqa: E402
from modelzoo.tasks.masked_lm import MaskedLM  # noqa: E402
from modelzoo.tasks.seq2seq_lm import Seq2SeqLM  # noqa: E402
from tests.core import assert_near, number, run_steps, token_ids  # noqa: E402

pytestmark = pytest.mark.real

V, D, H, F, L, T = 31, 32, 4, 48, 2, 9
IDS = token_ids(2, T, vocab=V)
MASK = np.array([[1] * T, [1] * 5 + [0] * (T - 5)], "int32")
SIZES = {"vocab_size": V, "num_layers": L, "hidden_dim": D, "num_heads": H, "ffn_dim": F}


def linear(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}/kernel": f"{theirs}.weight", f"{ours}/bias": f"{theirs}.bias"}


def norm(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}/gamma": f"{theirs}.weight", f"{ours}/beta": f"{theirs}.bias"}


def openai_names() -> dict[str, str]:
    names = {}
    for i, part in enumerate(("query", "key", "value")):  # one matrix there: its i-th third
        for ours, theirs in linear(f"attention/{part}", "h.{i}.attn.c_attn").items():
            names[ours] = f"{theirs}|{i}"
    return {
        **names,
        **linear("attention/output", "h.{i}.attn.c_proj"),
        **linear("ffn/up", "h.{i}.mlp.c_fc"),
        **linear("ffn/down", "h.{i}.mlp.c_proj"),
        **norm("attention_norm", "h.{i}.ln_1"),
        **norm("ffn_norm", "h.{i}.ln_2"),
    }


GPT2 = {
    "tokens/embeddings": "wte.weight",
    "positions/embeddings": "wpe.weight",
    **openai_names(),
    **norm("final_norm", "ln_f"),
}
GPT1 = {
    "tokens/embeddings": "tokens_embed.weight",
    "positions/embeddings": "positions_embed.weight",
    **openai_names(),
}
_LLAMA = "model.layers.{i}."
LLAMA = {
    "tokens/embeddings": "model.embed_tokens.weight",
    "attention/query/kernel": _LLAMA + "self_attn.q_proj.weight",
    "attention/key/kernel": _LLAMA + "self_attn.k_proj.weight",
    "attention/value/kernel": _LLAMA + "self_attn.v_proj.weight",
    "attention/output/kernel": _LLAMA + "self_attn.o_proj.weight",
    "ffn/gate/kernel": _LLAMA + "mlp.gate_proj.weight",
    "ffn/up/kernel": _LLAMA + "mlp.up_proj.weight",
    "ffn/down/kernel": _LLAMA + "mlp.down_proj.weight",
    "attention_norm/scale": _LLAMA + "input_layernorm.weight",
    "ffn_norm/scale": _LLAMA + "post_attention_layernorm.weight",
    "final_norm/scale": "model.norm.weight",
    "head/kernel": "lm_head.weight",
}
_LAYER = "bert.encoder.layer.{i}."
BERT = {
    "tokens/embeddings": "bert.embeddings.word_embeddings.weight",
    "positions/embeddings": "bert.embeddings.position_embeddings.weight",
    "segments/embeddings": "bert.embeddings.token_type_embeddings.weight",
    **norm("embedding/norm", "bert.embeddings.LayerNorm"),
    **linear("attention/query", _LAYER + "attention.self.query"),
    **linear("attention/key", _LAYER + "attention.self.key"),
    **linear("attention/value", _LAYER + "attention.self.value"),
    **linear("attention/output", _LAYER + "attention.output.dense"),
    **norm("attention_norm", _LAYER + "attention.output.LayerNorm"),
    **linear("ffn/up", _LAYER + "intermediate.dense"),
    **linear("ffn/down", _LAYER + "output.dense"),
    **norm("ffn_norm", _LAYER + "output.LayerNorm"),
    **linear("pooler", "bert.pooler.dense"),
    **linear("transform", "cls.predictions.transform.dense"),
    **norm("norm", "cls.predictions.transform.LayerNorm"),
    "decoder_bias": "cls.predictions.bias",
    **linear("nsp", "cls.seq_relationship"),
}
_DISTIL = "distilbert.transformer.layer.{i}."
DISTILBERT = {
    "tokens/embeddings": "distilbert.embeddings.word_embeddings.weight",
    "positions/embeddings": "distilbert.embeddings.position_embeddings.weight",
    **norm("embedding/norm", "distilbert.embeddings.LayerNorm"),
    **linear("attention/query", _DISTIL + "attention.q_lin"),
    **linear("attention/key", _DISTIL + "attention.k_lin"),
    **linear("attention/value", _DISTIL + "attention.v_lin"),
    **linear("attention/output", _DISTIL + "attention.out_lin"),
    **norm("attention_norm", _DISTIL + "sa_layer_norm"),
    **linear("ffn/up", _DISTIL + "ffn.lin1"),
    **linear("ffn/down", _DISTIL + "ffn.lin2"),
    **norm("ffn_norm", _DISTIL + "output_layer_norm"),
    **linear("transform", "vocab_transform"),
    **norm("norm", "vocab_layer_norm"),
    "decoder_bias": "vocab_projector.bias",
}


def t5_names(gated: bool) -> dict[str, str]:
    names = {"tokens/embeddings": "shared.weight"}
    for side, ffn in (("encoder", 1), ("decoder", 2)):
        block = f"{side}.block.{{i}}.layer."
        for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "o")):
            names[f"{side}/attention/{ours}/kernel"] = f"{block}0.SelfAttention.{theirs}.weight"
            if side == "decoder":
                names[f"{side}/cross_attention/{ours}/kernel"] = (
                    f"{block}1.EncDecAttention.{theirs}.weight"
                )
        names[f"{side}/attention_norm/scale"] = f"{block}0.layer_norm.weight"
        names[f"{side}/ffn_norm/scale"] = f"{block}{ffn}.layer_norm.weight"
        dense = f"{block}{ffn}.DenseReluDense."
        names[f"{side}/ffn/down/kernel"] = dense + "wo.weight"
        names[f"{side}/ffn/up/kernel"] = dense + ("wi_1.weight" if gated else "wi.weight")
        if gated:
            names[f"{side}/ffn/gate/kernel"] = dense + "wi_0.weight"
        names[f"{side}/relative_bias/embeddings"] = (
            f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        )
        names[f"{side}/final_norm/scale"] = f"{side}.final_layer_norm.weight"
    names["decoder/cross_attention_norm/scale"] = "decoder.block.{i}.layer.1.layer_norm.weight"
    if gated:
        names["head/kernel"] = "lm_head.weight"
    return names


def bart_names() -> dict[str, str]:
    names = {"tokens/embeddings": "model.shared.weight"}
    for side in ("encoder", "decoder"):
        layer = f"model.{side}.layers.{{i}}."
        names |= norm(f"{side}_embedding/norm", f"model.{side}.layernorm_embedding")
        names[f"{side}_embedding/positions/embeddings"] = f"model.{side}.embed_positions.weight"
        for ours, theirs in (("attention", "self_attn"), ("cross_attention", "encoder_attn")):
            for part in ("query", "key", "value"):
                names |= linear(f"{side}/{ours}/{part}", f"{layer}{theirs}.{part[0]}_proj")
            names |= linear(f"{side}/{ours}/output", f"{layer}{theirs}.out_proj")
            names |= norm(f"{side}/{ours}_norm", f"{layer}{theirs}_layer_norm")
        names |= linear(f"{side}/ffn/up", layer + "fc1")
        names |= linear(f"{side}/ffn/down", layer + "fc2")
        names |= norm(f"{side}/ffn_norm", layer + "final_layer_norm")
    return names


def randomised(theirs):
    """Their model in evaluation, with no bias zero and no gain one."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            gain = float("norm" in name.lower() or "ln_" in name) * float("weight" in name)
            parameter.copy_(torch.randn_like(parameter) * 0.15 + gain)
    return theirs.eval()


def copy_weights(ours, theirs, names: dict[str, str]) -> None:
    """Every weight of ours gets its tensor; one that no line of the table names is an error."""
    tensors = {name: value.detach().numpy() for name, value in theirs.state_dict().items()}
    transposed = {
        f"{name}.weight"
        for name, module in theirs.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    for weight in ours.weights:
        block = re.search(r"/block_(\d+)/", weight.path)
        path = re.sub(r"/block_\d+/", "/", f"/{weight.path}")
        endings = [ending for ending in names if path.endswith(f"/{ending}")]
        assert endings, f"{weight.path} has no line in the table"
        name = names[max(endings, key=len)].format(i=block and block[1])
        name, _, third = name.partition("|")
        tensor = tensors[name].T if name in transposed else tensors[name]
        if third:
            tensor = np.split(tensor, 3, axis=-1)[int(third)]
        assert tensor.shape == tuple(weight.shape), (weight.path, name)
        weight.assign(tensor)
    assert ours.count_params() == count_once(theirs)


def count_once(theirs) -> int:
    return sum(parameter.numel() for parameter in theirs.parameters())  # shared ones count once


def run(theirs, **inputs):
    with torch.no_grad():
        return theirs(**{key: torch.tensor(np.asarray(x, "int64")) for key, x in inputs.items()})


def array(tensor) -> np.ndarray:
    return tensor.numpy().astype(np.float64)


# === Decoders ===


@pytest.mark.parametrize("kind", ["gpt-2", "gpt-1"])
def test_openai_decoders(kind):
    sizes = {"vocab_size": V, "n_positions": 16, "n_embd": D, "n_layer": L, "n_head": H}
    if kind == "gpt-2":
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, n_inner=4 * D))
    else:
        theirs = transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig(**sizes))
    randomised(theirs)
    where = "pre" if kind == "gpt-2" else "post"
    build = registry.architecture("gpt")
    ours = CausalLM(build(**{**SIZES, "ffn_dim": 4 * D}, max_length=16, norm_position=where))
    copy_weights(ours, theirs.transformer, GPT2 if kind == "gpt-2" else GPT1)

    wanted = array(run(theirs, input_ids=IDS).logits)
    assert_near(ours(IDS), wanted, 1e-4)
    assert_near(run_steps(ours.backbone, IDS, [4, 1, 3, 1], 12), wanted, 1e-4)
    if kind == "gpt-2":
        padded = array(run(theirs, input_ids=IDS, attention_mask=MASK).logits)
        got = number(ours({"token_ids": IDS, "padding_mask": MASK}))
        assert_near(got[MASK > 0], padded[MASK > 0], 1e-4)


def test_llama_with_grouped_heads():
    theirs = randomised(
        transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=V,
                hidden_size=D,
                intermediate_size=F,
                num_hidden_layers=L,
                num_attention_heads=H,
                num_key_value_heads=2,
                head_dim=10,
                max_position_embeddings=64,
                rms_norm_eps=1e-6,
                tie_word_embeddings=False,
            )
        )
    )
    ours = CausalLM(
        registry.architecture("gpt")(
            **SIZES,
            num_kv_heads=2,
            head_dim=10,
            max_length=64,
            positions="rotary",
            norm="rms",
            norm_epsilon=1e-6,
            activation="silu",
            gated=True,
            attention_bias=False,
            ffn_bias=False,
            tie_embeddings=False,
        )
    )
    copy_weights(ours, theirs, LLAMA)
    wanted = array(run(theirs, input_ids=IDS).logits)
    assert_near(ours(IDS), wanted, 1e-4)
    assert_near(run_steps(ours.backbone, IDS, [4, 1, 3, 1], 12), wanted, 1e-4)


# === Encoders ===


def test_bert_with_both_heads():
    theirs = transformers.BertForPreTraining(
        transformers.BertConfig(
            vocab_size=V,
            hidden_size=D,
            num_hidden_layers=L,
            num_attention_heads=H,
            intermediate_size=F,
            max_position_embeddings=16,
        )
    )
    randomised(theirs)
    ours = MaskedLM(registry.architecture("bert")(**SIZES, max_length=16))
    copy_weights(ours, theirs, BERT)
    segments = (np.arange(T) > 3).astype("int32")[None].repeat(2, axis=0)
    wanted = run(theirs, input_ids=IDS, attention_mask=MASK, token_type_ids=segments)
    got = ours({"token_ids": IDS, "padding_mask": MASK, "segment_ids": segments})
    assert_near(number(got["mlm"])[MASK > 0], array(wanted.prediction_logits)[MASK > 0], 1e-4)
    assert_near(got["nsp"], array(wanted.seq_relationship_logits), 1e-4)


def test_distilbert():
    theirs = transformers.DistilBertForMaskedLM(
        transformers.DistilBertConfig(
            vocab_size=V, dim=D, n_layers=L, n_heads=H, hidden_dim=F, max_position_embeddings=16
        )
    )
    randomised(theirs)
    options = {"max_length": 16, "num_segments": 0, "pooler": False}
    ours = MaskedLM(registry.architecture("bert")(**SIZES, **options), next_sentence=False)
    copy_weights(ours, theirs, DISTILBERT)
    wanted = array(run(theirs, input_ids=IDS, attention_mask=MASK).logits)
    got = number(ours({"token_ids": IDS, "padding_mask": MASK})["mlm"])
    assert_near(got[MASK > 0], wanted[MASK > 0], 1e-4)


# === Encoder-decoders ===


def compare_seq2seq(ours: Seq2SeqLM, theirs) -> None:
    target = token_ids(2, 7, seed=3, vocab=V)
    wanted = array(run(theirs, input_ids=IDS, attention_mask=MASK, decoder_input_ids=target).logits)
    inputs = {"token_ids": IDS, "padding_mask": MASK, "decoder_token_ids": target}
    assert_near(ours(inputs), wanted, 1e-4)
    memory = ours.backbone.encode(IDS, MASK)
    assert_near(run_steps(ours.backbone, target, [3, 1, 2, 1], 10, memory, MASK), wanted, 1e-4)


@pytest.mark.parametrize("gated", [False, True], ids=["v1.0", "v1.1"])
def test_t5(gated):
    theirs = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=V,
            d_model=D,
            d_kv=10,
            d_ff=F,
            num_layers=L,
            num_decoder_layers=L + 1,
            num_heads=H,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=10,
            feed_forward_proj="gated-gelu" if gated else "relu",
            tie_word_embeddings=not gated,
        )
    )
    if gated:  # transformers 5 ties what the published v1.1 does not
        theirs.lm_head.weight = torch.nn.Parameter(torch.empty(V, D))
    randomised(theirs)
    ours = Seq2SeqLM(
        registry.architecture("t5")(
            **SIZES,
            num_decoder_layers=L + 1,
            head_dim=10,
            relative_buckets=8,
            relative_max_distance=10,
            max_length=16,
            activation="gelu_tanh" if gated else "relu",
            gated=gated,
            tie_embeddings=not gated,
        )
    )
    copy_weights(ours, theirs, t5_names(gated))
    compare_seq2seq(ours, theirs)


def test_bart():
    theirs = transformers.BartForConditionalGeneration(
        transformers.BartConfig(
            vocab_size=V,
            d_model=D,
            encoder_layers=L,
            decoder_layers=L + 1,
            encoder_attention_heads=H,
            decoder_attention_heads=H,
            encoder_ffn_dim=F,
            decoder_ffn_dim=F,
            max_position_embeddings=16,
        )
    )
    randomised(theirs)
    build = registry.architecture("bart")
    ours = Seq2SeqLM(build(**SIZES, num_decoder_layers=L + 1, max_length=16))
    copy_weights(ours, theirs, bart_names())
    compare_seq2seq(ours, theirs)
