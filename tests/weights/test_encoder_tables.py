"""What sets the encoders and encoder-decoders apart, in their files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import modelzoo
from modelzoo.errors import WeightsError
from modelzoo.weights import write_checkpoint
from modelzoo.weights.tables import TABLES
from tests.core import fresh, number, token_ids
from tests.weights.test_tables import made


def written(kind: str, folder: Path, **more) -> Path:
    return write_checkpoint(made(kind, **more), folder / "out")


def edited(folder: Path, config=(), tensors=()) -> Path:
    """The checkpoint with other keys and tensors; `None` removes one."""
    path, file = folder / "config.json", folder / "model.safetensors"
    keys = {**json.loads(path.read_text()), **dict(config)}
    path.write_text(json.dumps({key: value for key, value in keys.items() if value is not None}))
    both = {**load_file(file), **dict(tensors)}
    save_file({key: value for key, value in both.items() if value is not None}, file)
    return folder


def typed(kind: str) -> dict:
    """What config.json says of a type that is written as another."""
    head = next(iter(TABLES[kind].heads.values()))
    return {"model_type": kind, "architectures": [head.classes[-1]]}


@pytest.mark.parametrize("kind", ["roberta", "mpnet"])
def test_a_classifier_over_the_first_token_passes_over_a_pooler(kind, tmp_path):
    options = {"hidden_activation": "tanh"}
    model = made(kind, task="text-classification", task_options=options)
    folder = write_checkpoint(model, tmp_path / "out")
    pooler = {f"{kind}.pooler.dense.weight": np.ones((16, 16), "float32")}
    pooler[f"{kind}.pooler.dense.bias"] = np.ones(16, "float32")
    again = modelzoo.build(edited(folder, tensors=pooler), compile=False)
    assert again.backbone.pooler is None
    x = {"token_ids": token_ids(2, 9)}
    np.testing.assert_array_equal(number(again(x)), number(model(x)))


def test_layers_that_share_their_weights_count_once(tmp_path):
    two, five = fresh("albert"), fresh("albert", num_layers=5)
    assert two.count_params() == five.count_params()
    assert len(five.stack.blocks) == 5
    names = load_file(written("albert", tmp_path) / "model.safetensors")
    assert sum("attention.query.weight" in name for name in names) == 1


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("albert", {"num_hidden_groups": 2}, "num_hidden_groups = 2 is not supported, only 1"),
        ("albert", {"embedding_size": 16}, "embedding_size = hidden_size = 16"),
        ("albert", {"net_structure_type": 1}, "net_structure_type = 1"),
        ("electra", {"hidden_act": "relu"}, "hidden_act 'relu' is not supported"),
        ("mpnet", {"relative_attention_num_buckets": 16}, "only 32"),
        ("xlm-roberta", {"pad_token_id": 0}, "only 1"),
        ("marian", {"decoder_vocab_size": 99}, "decoder_vocab_size = 99"),
        ("marian", {"share_encoder_decoder_embeddings": False}, "only True"),
        ("pegasus", {"static_position_embeddings": False}, "only True"),
        ("mbart", {"normalize_before": False}, "only True"),
        ("m2m_100", {"decoder_ffn_dim": 99}, "M2M-100 whose two sides have other ffn_dim"),
        ("blenderbot", {"layernorm_variant": "xlm"}, "layernorm_variant = 'xlm'"),
        ("mt5", {"feed_forward_proj": "gated-tanh"}, "feed_forward_proj 'gated-tanh'"),
    ],
)
def test_a_model_of_another_kind_is_rejected_by_its_key(kind, changes, message, tmp_path):
    folder = edited(written(kind, tmp_path), {**changes, **typed(kind)})
    with pytest.raises(WeightsError, match=message):
        modelzoo.build(folder, compile=False)


def test_fixed_positions_are_written_and_compared(tmp_path):
    folder = written("pegasus", tmp_path)
    name = "model.encoder.embed_positions.weight"
    table = load_file(folder / "model.safetensors")[name]
    assert table.shape == (32, 16)
    np.testing.assert_allclose(table[3, [0, 8]], [np.sin(3), np.cos(3)], rtol=1e-6)
    modelzoo.build(edited(folder, tensors={name: None}), compile=False)  # as Marian's files are
    modelzoo.build(edited(folder, tensors={name: table}), compile=False, max_length=8)
    with pytest.raises(WeightsError, match=f"{name} is not what the model makes of its sizes"):
        modelzoo.build(edited(folder, tensors={name: table + 1}), compile=False)


def test_a_marian_without_a_bias_of_its_logits_has_none(tmp_path):
    folder = edited(written("marian", tmp_path), tensors={"final_logits_bias": None})
    assert modelzoo.build(folder, compile=False).backbone.logit_bias is None


def test_an_mt5_is_tied_where_it_stores_no_head(tmp_path):
    """Whatever `tie_word_embeddings` says, which transformers writes as true in any case."""
    config = {**typed("mt5"), "tie_word_embeddings": True}
    folder = edited(written("mt5", tmp_path), config)
    assert modelzoo.build(folder, compile=False).backbone.head is not None
    tied = modelzoo.build(edited(folder, tensors={"lm_head.weight": None}), compile=False)
    assert tied.backbone.head is None and tied.backbone.logit_scale == 1.0


def test_relatives_that_are_no_value_of_the_core_are_rejected_by_type(tmp_path):
    folder = written("bart", tmp_path)
    for kind in ("blenderbot-small", "deberta-v2", "prophetnet"):
        with pytest.raises(WeightsError, match=f"the model type '{kind}' has no table"):
            modelzoo.build(edited(folder, {"model_type": kind}), compile=False)


def test_what_differs_in_its_name_alone_is_written_under_the_first():
    same = {kind: table.written_as for kind, table in TABLES.items() if table.written_as}
    assert same == {
        "camembert": "roberta",
        "hubert": "wav2vec2",
        "mt5": "t5",
        "xlm-roberta": "roberta",
    }
