"""What the functions `build(*, ...)` make of their values."""

from __future__ import annotations

from typing import get_args

import pytest

from modelzoo import registry
from modelzoo.errors import RecipeError
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.pooling import FRAME_POOLINGS, IMAGE_POOLINGS, POOLINGS
from modelzoo.recipe.schema import arguments
from modelzoo.registry import components
from modelzoo.runtime.media.images import RESIZES
from modelzoo.runtime.media.resizing import INTERPOLATIONS
from tests.core import fresh, number, small, token_ids
from tests.test_imports import PACKAGE

NAMES = sorted(components.CORE["architectures"])


def paths(model) -> set[str]:
    return {weight.path.split("/", 1)[1] for weight in model.weights}


PUBLISHED = {
    "ast": "ast",
    "bart": "bart-base",
    "bert": "bert-base",
    "convolutional": "mobilenet-v3-small",
    "gpt": "gpt-small",
    "modernbert": "modernbert-base",
    "moonshine": "moonshine-tiny",
    "recurrent": "lstm-medium",
    "t5": "t5-small",
    "transformer": "transformer-base",
    "vit": "vit-b16",
    "wav2vec2": "wav2vec2-base",
    "whisper": "whisper-tiny",
}
# Put together from parts, a part that no recipe is of alone, or ours.
OTHERS = {"captioner", "contrastive", "convnet", "htsat", "imagebind", "prefix", "video"}
OTHERS |= {"multimodal"}


@pytest.mark.parametrize("name", NAMES)
def test_a_signature_is_a_schema_with_a_default_for_all_but_the_parts(name):
    schema = arguments(registry.architecture(name))
    assert {hint for hint, needed in schema.values() if needed} <= {dict}


def test_every_architecture_has_a_published_model_or_is_known_to_have_none():
    assert {*PUBLISHED, *OTHERS} == set(NAMES)


@pytest.mark.parametrize("name", PUBLISHED)
def test_defaults_are_a_published_model(name):
    schema = registry.architecture(name).__kwdefaults__
    stated = registry.recipe(PUBLISHED[name]).table("model")
    for key in ("vocab_size", "num_layers", "hidden_dim", "num_heads", "max_length", "dropout"):
        if key in schema and key in stated:
            assert schema[key] == stated[key], key


def test_a_post_norm_decoder_has_no_final_norm():
    assert "stack/final_norm/gamma" in paths(fresh("gpt-2"))
    assert not [path for path in paths(fresh("gpt-1")) if "final_norm" in path]


def test_positions_within_attention_leave_no_table():
    for name in ("llama", "relative", "sine", "t5", "transformer"):
        assert not [path for path in paths(fresh(name)) if "positions" in path]
    assert "stack/relative_bias/embeddings" in paths(fresh("relative"))


def test_both_sides_of_a_t5_have_one_table_of_buckets_each():
    tables = [path for path in paths(fresh("t5")) if "relative_bias" in path]
    assert sorted(tables) == [
        "decoder/relative_bias/embeddings",
        "encoder/relative_bias/embeddings",
    ]


def test_bart_keeps_two_rows_before_position_zero():
    assert fresh("bart").encoder_embedding.learned.embeddings.shape == (14, 16)


def test_tied_logits_of_t5_are_scaled_and_untied_ones_are_not():
    for name, scale in (("t5", 16**-0.5), ("t5 v1.1", 1.0)):
        model = small(name)
        hidden = token_ids(1, 1, vocab=5) + number(model.tokens(token_ids(2, 3))).astype("float32")
        table = model.tokens.embeddings if model.head is None else model.head.kernel
        table = number(table).T if model.head is None else number(table)
        assert number(model.logits(hidden)) == pytest.approx(hidden @ table * scale, abs=1e-4)


def test_the_transformer_scales_its_table_up_on_the_way_in():
    assert fresh("transformer").encoder_embedding.scale == pytest.approx(4.0)


def test_a_t5_starts_with_scores_of_the_same_size_as_scaled_attention():
    from modelzoo.architectures import t5

    model = t5.build(num_layers=1, hidden_dim=64, num_heads=4, head_dim=16, ffn_dim=64)
    attention = model.encoder.blocks[0].attention
    assert number(attention.key.kernel).std() == pytest.approx(64**-0.5, rel=0.05)
    assert number(attention.query.kernel).std() == pytest.approx((64 * 16) ** -0.5, rel=0.05)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("recurrent", {"tie_embeddings": True, "hidden_dims": (9,)}, "9 is not embedding_dim 650"),
        ("recurrent", {"hidden_dims": ()}, "hidden_dims needs the width of a layer"),
        ("gpt", {"num_layers": 0}, "needs one layer or more"),
        ("bert", {"hidden_dim": 10, "num_heads": 3}, "not a multiple of num_heads 3"),
    ],
)
def test_sizes_that_cannot_be_are_refused(name, options, message):
    with pytest.raises(RecipeError, match=message):
        registry.architecture(name)(**{"vocab_size": 9, **options})


CHOICES = {
    "resize": RESIZES,
    "interpolation": INTERPOLATIONS,
    "vit pooling": IMAGE_POOLINGS,
    "video pooling": FRAME_POOLINGS,
    "text-embedding pooling": POOLINGS,
}


def test_a_signature_names_the_very_choices_that_the_model_takes():
    schemas = {name: arguments(registry.architecture(name)) for name in NAMES}
    schemas["text-embedding"] = arguments(registry.task("text-embedding"))
    found = [
        (set(get_args(hint)), set(CHOICES.get(key) or CHOICES[f"{name} {key}"]))
        for name, schema in schemas.items()
        for key, (hint, _) in schema.items()
        if key in ("resize", "interpolation", "pooling")
    ]
    assert len(found) == 11
    for stated, taken in found:
        assert stated == taken


# === Parameters by name ===


def test_a_config_takes_its_fields_and_leaves_the_rest():
    parameters = {"hidden_dim": 8, "num_heads": 2, "ffn_dim": 9, "pooler": True, "image": {}}
    config, rest = TransformerConfig.of(parameters, "image", ffn_dim=16, norm="rms")
    assert config == TransformerConfig(hidden_dim=8, num_heads=2, ffn_dim=16, norm="rms")
    assert rest == {"pooler": True}


def test_a_config_refuses_names_that_lead_nowhere_and_misses_what_it_needs():
    parameters = {"hidden_dim": 8, "num_heads": 2, "ffn_dim": 9, "scale_logits": True}
    with pytest.raises(TypeError, match="no parameter 'scale_logit': is it 'scale_logits'?"):
        TransformerConfig.of(parameters, "scale_logit")
    with pytest.raises(TypeError, match="norm_epsilom"):
        TransformerConfig.of(parameters, norm_epsilom=1e-3)
    del parameters["num_heads"]
    with pytest.raises(TypeError, match="num_heads"):
        TransformerConfig.of(parameters)


BY_NAME = sorted(
    path for path in PACKAGE.glob("architectures/*.py") if "dict(locals())" in path.read_text()
)


@pytest.mark.parametrize("path", BY_NAME, ids=lambda path: path.stem)
def test_a_misspelt_parameter_is_an_error_and_not_a_default(path):
    source, found = path.read_text(), {"__name__": path.stem}
    exec(source.replace("    *,\n", "    *,\n    norm_epsilom: float = 1e-3,\n", 1), found)
    image = {"architecture": "convnet", "model": {"widths": [8]}}
    parts = {"image": image} if "image: dict" in source else {}
    with pytest.raises((TypeError, ValueError), match="norm_epsilom"):
        found["build"](**parts)


def test_most_architectures_pass_their_parameters_by_name():
    assert len(BY_NAME) == 18
