"""A mixture from raw data to a model: trained, killed and resumed, measured by part."""

from __future__ import annotations

import io

import numpy as np
import pytest

import modelzoo
from modelzoo import cli
from modelzoo.errors import DataError
from modelzoo.training import keeper
from modelzoo.training.evaluate import evaluate
from modelzoo.training.train import train
from tests import small

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")
MIXTURE = {
    "denoise": {"objective": "span-corruption", "weight": 2},
    "translate": {"objective": "text-to-text", "prompt": "de: "},
}
DATA = {"denoise": small.TEXTS, "translate": small.PAIRS}
STEPS = {"train.steps": 8, "train.checkpoint_steps": 2, "train.learning_rate": 1e-3}


def recipe(**changes):
    model = {**small.T5, "task": "mixture", "mixture": MIXTURE, "vocab_size": 320}
    return modelzoo.read_recipe("t5-tiny", {**model, **STEPS, **changes})


def run(output, data=None, **changes):
    return train(recipe(**changes), DATA if data is None else data, output, stream=io.StringIO())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    output = tmp_path_factory.mktemp("mixture") / "model"
    return output, run(output)


def test_the_figures_are_those_of_each_part_and_their_mean_by_weight(trained):
    output, figures = trained
    losses = [figures[f"{name}/loss"] for name in MIXTURE]
    assert figures["loss"] == pytest.approx((2 * losses[0] + losses[1]) / 3)
    assert {"denoise/accuracy", "translate/exact_match"} <= figures.keys()
    own = evaluate(output, {"translate": small.PAIRS})
    assert own["loss"] == own["translate/loss"] and "denoise/loss" not in own


def test_a_killed_mixture_goes_on_with_the_same_batches(graphs, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def dying(*args, save=keeper.save_checkpoint):
        if args[2]["done"] == 6:
            raise Killed
        save(*args)

    monkeypatch.setattr(keeper, "save_checkpoint", dying)
    with pytest.raises(Killed):
        run(tmp_path / "model")
    monkeypatch.undo()
    run(tmp_path / "model")
    run(tmp_path / "whole")
    one, other = (modelzoo.load(tmp_path / name, compile=False) for name in ("model", "whole"))
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_parts_of_different_lengths_are_one_graph(graphs, tmp_path):
    long = [("a rose " * 12, "eine Rose " * 12)] * 8
    changes = {"train.length": 32, "train.validation_fraction": 0}
    assert run(tmp_path / "model", {**DATA, "translate": long}, **changes) == {}


def test_a_model_of_a_mixture_generates(trained):
    model = modelzoo.load(trained[0])
    assert isinstance(model.generate("de: a rose", max_new_tokens=2), str)
    batches = modelzoo.dataset(model, DATA)
    model.fit(batches, steps_per_epoch=2, verbose=0)
    with pytest.raises(DataError, match="no data for denoise"):
        modelzoo.dataset(model, {"translate": small.PAIRS})


def test_the_command_line_names_the_data_of_each_part(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "\n".join("\t".join(pair) for pair in [("source", "target"), *small.PAIRS])
    (tmp_path / "pairs.tsv").write_text(rows, "utf-8")
    (tmp_path / "texts.txt").write_text("\n".join(small.TEXTS), "utf-8")
    (tmp_path / "mix.toml").write_text(modelzoo.recipe.dumps(recipe().values), "utf-8")
    command = ["train", "mix.toml", "-o", "out"]
    data = ["--data", "translate=pairs.tsv", "--data", "denoise=texts.txt"]
    for given, message in (
        (data[:2], "no data for denoise of the mixture"),
        ([*data, "--data", "denoise=texts.txt"], "says the data of denoise twice"),
        (["--data", "pairs.tsv"], "pairs.tsv has no name"),
        ([*data[:2], "--data", "denoise=pairs.tsv"], "the part denoise of the mixture"),
        ([*data[:2], "--data", "denoise=nowhere.txt"], "no such file or directory"),
        ([*data, "--set", "mixture.denoise.objective=captioning"], "the part denoise"),
    ):
        assert cli.main([*command, *given]) == 2
        assert message in capsys.readouterr().err
    assert cli.main([*command, *data]) == 0
    assert "translate/exact_match" in capsys.readouterr().out
    assert cli.main(["evaluate", "out", "--data", "translate=pairs.tsv", "--json"]) == 0
    assert '"translate/loss"' in capsys.readouterr().out
    assert cli.main(["train", "gpt-tiny", "-o", "other"]) == 2
    assert "add --data PATH" in capsys.readouterr().err
