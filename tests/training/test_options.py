"""The [train] table: what it takes, and what it refuses."""

from __future__ import annotations

import pytest

from modelzoo.errors import RecipeError
from modelzoo.recipe.train_options import train_options
from tests import small


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("learning_rat", 1e-3, "takes no 'learning_rat'"),
        ("optimizer", "adamv", 'must be "adamw" or "adam"'),
        ("batch_size", 1.5, "must be an int"),
        ("batch_size", 0, "must be at least 1, not 0"),
        ("accumulate", 0, "must be at least 1, not 0"),
        ("checkpoint_steps", 0, "must be at least 1, not 0"),
        ("steps", 0, "must be at least 1, not 0"),
        ("patience", 0, "must be at least 1, not 0"),
        ("warmup_steps", -1, "must be at least 0, not -1"),
        ("seed", -1, "must be at least 0, not -1"),
        ("clip_norm", -1.0, "must be at least 0, not -1.0"),
        ("clip_norm", float("nan"), "must be at least 0, not nan"),
        ("learning_rate", 0, "must be above 0, not 0"),
        ("learning_rate", float("inf"), "must be above 0, not inf"),
        ("epochs", float("inf"), "must be above 0, not inf"),
        ("beta_2", 1.0, r"must be in \[0, 1\), not 1.0"),
        ("validation_fraction", 1, r"must be in \[0, 1\), not 1"),
    ],
)
def test_a_wrong_value_is_refused_by_name(key, value, said):
    with pytest.raises(RecipeError, match=said) as caught:
        train_options(small.recipe(**{f"train.{key}": value}))
    assert key in caught.value.what


def test_a_typo_suggests_the_right_key():
    with pytest.raises(RecipeError) as caught:
        train_options(small.recipe(**{"train.learning_rat": 1e-3}))
    assert caught.value.did_you_mean == "learning_rate"


def test_the_length_of_rows_is_given_or_the_tables_or_the_models():
    model = small.build()
    assert train_options(model.recipe).length_for(model) == 16
    assert train_options(model.recipe).length_for(model, 8) == 8
    bare = train_options(small.recipe(**{"train.length": None}))
    assert bare.length_for(model) == 32
    recurrent = small.build("lstm-tiny", **{"train.length": None})
    assert train_options(recurrent.recipe).length_for(recurrent) == 256
    with pytest.raises(RecipeError, match="33 tokens are longer than the model's max_length 32"):
        bare.length_for(model, 33)
