"""Rules of a table that change the order of axes, or add tensors up, in both directions."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import modelzoo
from modelzoo import registry
from modelzoo.errors import WeightsError
from modelzoo.registry import components
from modelzoo.weights import lookup, open_checkpoint, read_weights, write_checkpoint
from modelzoo.weights.mapping import joined, parted, shape_of, to_ours, to_theirs
from modelzoo.weights.table import (
    Head,
    Rule,
    Table,
    Value,
    batch_norm,
    conv,
    depthwise,
    fused,
    linear,
    paired,
    partial,
    rules,
    same,
    summed,
)

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def both_ways(rule: Rule, theirs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Ours of theirs, after the way back was checked."""
    weights = {rule.ours[0]: np.empty(shape, "float32")}
    assert shape_of(rule, weights) == theirs.shape
    (ours,) = to_ours(rule, theirs, weights)
    assert ours.shape == shape
    np.testing.assert_array_equal(to_theirs(rule, [ours]), theirs)
    return ours


def test_a_convolution_keeps_height_and_width():
    kernel, bias = conv("a", "b")
    theirs = normal(5, 4, 3, 3)  # square: all axes turned round would fit as well
    ours = both_ways(kernel, theirs, (3, 3, 4, 5))
    assert ours[0, 2, 3, 4] == theirs[4, 3, 0, 2]
    assert (kernel.theirs, bias.theirs, bias.ours) == ("a.weight", "a.bias", ("b/bias",))


def test_a_convolution_over_time_or_volume_says_its_axes():
    theirs = normal(5, 4, 3)
    assert both_ways(conv("a", "b", dims=1)[0], theirs, (3, 4, 5))[1, 2, 3] == theirs[3, 2, 1]
    theirs = normal(6, 5, 2, 3, 4)
    ours = both_ways(conv("a", "b", dims=3)[0], theirs, (2, 3, 4, 5, 6))
    assert ours[1, 2, 3, 4, 5] == theirs[5, 4, 1, 2, 3]
    weights = {"b/kernel": np.empty((3, 3, 4, 5))}
    with pytest.raises(WeightsError, match="3 axes of a.weight are ordered, and b/kernel has 4"):
        shape_of(conv("a", "b", dims=1)[0], weights)


def test_a_depthwise_convolution_keeps_the_outputs_of_a_channel_together():
    theirs = normal(4 * 2, 1, 3, 3)
    ours = both_ways(depthwise("a", "b")[0], theirs, (3, 3, 4, 2))
    assert ours[0, 2, 3, 1] == theirs[3 * 2 + 1, 0, 0, 2]


def test_a_fused_matrix_holds_the_queries_key_and_value_of_each_head_of_keys():
    (kernel, bias) = fused("a", "b")
    values = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 3}
    theirs = np.arange(24, dtype="float32")
    weights = {path: np.empty(12 if "query" in path else 6) for path in bias.ours}
    rule = bias.of_model(values)
    query, key, value = to_ours(rule, theirs, weights)
    assert query.tolist() == [*range(6), *range(12, 18)]
    assert key.tolist() == [6, 7, 8, 18, 19, 20] and value.tolist() == [9, 10, 11, 21, 22, 23]
    np.testing.assert_array_equal(to_theirs(rule, [query, key, value]), theirs)
    theirs = normal(24, 5)
    weights = {path: np.empty((5, 12 if "query" in path else 6)) for path in kernel.ours}
    rule = kernel.of_model(values)
    assert shape_of(rule, weights) == (24, 5)
    ours = to_ours(rule, theirs, weights)
    np.testing.assert_array_equal(ours[1], theirs[[6, 7, 8, 18, 19, 20]].T)
    np.testing.assert_array_equal(to_theirs(rule, ours), theirs)


@pytest.mark.parametrize(
    ("values", "order"),
    [
        ({"rotary_fraction": 0.5}, [0, 1, 4, 5, 2, 3, 6, 7]),
        ({"rotary_fraction": 0.25}, [0, 2, 3, 4, 1, 5, 6, 7]),
        ({"rotary_fraction": 1.0}, list(range(8))),
        ({}, list(range(8))),
    ],
)
def test_heads_that_turn_in_part_hold_the_part_in_both_halves(values, order):
    sizes = {"hidden_dim": 16, "num_heads": 2, "num_kv_heads": None, **values}
    (rule,) = partial(same("a", "b"))
    ours = both_ways(rule.of_model(sizes), np.arange(16.0), (16,))
    assert ours.tolist() == [*order, *(8 + place for place in order)]
    rule = fused("a", "b", partial=True)[1].of_model(sizes)
    weights = {path: np.empty(16) for path in rule.ours}
    theirs = np.arange(48.0)
    query, _, value = to_ours(rule, theirs, weights)
    assert query.tolist() == [*order, *(24 + place for place in order)]
    assert value.tolist() == [*range(16, 24), *range(40, 48)]  # positions do not turn it
    np.testing.assert_array_equal(to_theirs(rule, to_ours(rule, theirs, weights)), theirs)


def test_pairs_side_by_side_go_into_the_two_halves():
    (rule,) = paired(same("a", "b"))
    rule = rule.of_model({"head_dim": 6, "rotary_fraction": 0.5})
    assert both_ways(rule, np.arange(12.0), (12,))[:6].tolist() == [0, 2, 4, 1, 3, 5]


def test_a_tensor_for_each_head_is_a_row_of_ours():
    rule = Rule("l.{i}.norms.{h}.weight", ("l_{i}/gamma",), stacked="num_kv_heads").at(3)
    rule = rule.of_model({"num_heads": 4, "num_kv_heads": 2})
    assert rule.tensors == ("l.3.norms.0.weight", "l.3.norms.1.weight")
    rows = [normal(5), normal(5)]
    (ours,) = to_ours(rule, joined(rule, rows), {})
    assert shape_of(rule, {"l_3/gamma": ours}) == (5,)
    np.testing.assert_array_equal(ours, rows)
    np.testing.assert_array_equal(parted(rule, to_theirs(rule, [ours])), rows)


def test_rules_of_layers_and_prefixes_reach_every_tensor_of_a_sum():
    (rule,) = rules(summed("{i}.a", "{i}.b", ours="l_{i}/bias"), theirs="x.", ours="y/")
    assert rule.at(3).tensors == ("x.3.a", "x.3.b") and rule.at(3).ours == ("y/l_3/bias",)


# === A model with all of it ===


def net(*, hidden_dim: int = 6, turned: bool = False) -> keras.Model:
    x = images = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Conv2D(4, 3, name="stem")(x)
    x = keras.layers.BatchNormalization(epsilon=1e-5, name="stem_norm")(x)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depth")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(hidden_dim, name="top")(x)
    model = keras.Model({"images": images}, {"pooled": x})
    model.hidden_dim, model.processing = hidden_dim, {"image": {"size": [8, 8]}}
    return model


def table(stem) -> Table:
    return Table(
        model_type="test_net",
        architecture="test-net",
        prefix="",
        rules=rules(
            stem("stem", "stem"),
            batch_norm("bn", "stem_norm"),
            depthwise("depth", "depth"),
            linear("top", "top")[:1],
            summed("top.bias_a", "top.bias_b", ours="top/bias"),
        ),
        layer_rules=(),
        values=(Value("width", "hidden_dim"),),
        heads={
            "image-classification": Head(
                ("TestNet",),
                rules(linear("fc", "classifier")),
                values=(Value("drop_rate", "dropout", 0.0),),
                read=lambda config, names: {"labels": config["classes"]},
                write=lambda options: {"classes": options["labels"]},
            )
        },
    )


@pytest.fixture
def known(monkeypatch):
    """Called with a table, it is the one of the architecture `test-net`."""
    registry.register("test-net", architecture=net)

    def know(made: Table) -> None:
        monkeypatch.setattr(lookup, "TABLES", {**lookup.TABLES, "test_net": made})
        for name in ("read", "write"):
            module = __import__(f"modelzoo.weights.{name}", fromlist=["TABLES"])
            monkeypatch.setattr(module, "TABLES", lookup.TABLES)

    know(table(conv))
    yield know
    components._registered[components.KINDS["architecture"]].pop("test-net")


def checkpoint(folder) -> dict[str, np.ndarray]:
    tensors = {
        "stem.weight": normal(4, 3, 3, 3),
        "stem.bias": normal(4),
        "bn.weight": normal(4),
        "bn.bias": normal(4),
        "bn.running_mean": normal(4),
        "bn.running_var": np.abs(normal(4)) + 0.5,
        "bn.num_batches_tracked": np.array(7, np.int64),
        "depth.weight": normal(8, 1, 3, 3),
        "depth.bias": normal(8),
        "top.weight": normal(6, 8),
        "top.bias_a": normal(6),
        "top.bias_b": normal(6),
        "fc.weight": normal(2, 6),
        "fc.bias": normal(2),
    }
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "test_net", "architectures": ["TestNet"], "width": 6}
    config |= {"drop_rate": 0.25, "classes": ["no", "yes"]}
    (folder / "config.json").write_text(json.dumps(config))
    return tensors


def expected(tensors, images) -> np.ndarray:
    """The network in numpy, over (B, C, H, W) as the checkpoint has it."""
    x = np.moveaxis(images, 3, 1)
    x = convolved(x, tensors["stem.weight"]) + tensors["stem.bias"][:, None, None]
    mean, var = tensors["bn.running_mean"], tensors["bn.running_var"]
    scale = tensors["bn.weight"] / np.sqrt(var + 1e-5)
    x = (x - mean[:, None, None]) * scale[:, None, None] + tensors["bn.bias"][:, None, None]
    kernel = tensors["depth.weight"]
    parts = [convolved(x[:, i // 2 : i // 2 + 1], kernel[i : i + 1]) for i in range(len(kernel))]
    x = np.concatenate(parts, 1) + tensors["depth.bias"][:, None, None]
    x = x.mean((2, 3)) @ tensors["top.weight"].T + tensors["top.bias_a"] + tensors["top.bias_b"]
    return x @ tensors["fc.weight"].T + tensors["fc.bias"]


def convolved(x, kernel) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], (2, 3))
    return np.einsum("bchwij,ocij->bohw", windows, kernel)


def test_a_checkpoint_of_convolutions_answers_as_numpy_does_and_is_written_back(known, tmp_path):
    tensors = checkpoint(tmp_path / "theirs")
    model = modelzoo.build(tmp_path / "theirs", compile=False)
    images = normal(2, 8, 8, 3)
    np.testing.assert_allclose(
        model({"images": images}), expected(tensors, images), rtol=1e-4, atol=1e-5
    )
    write_checkpoint(model, tmp_path / "ours")
    written = load_file(tmp_path / "ours" / "model.safetensors")
    tensors["top.bias_a"] += tensors["top.bias_b"]
    tensors |= {"top.bias_b": np.zeros(6, "float32"), "bn.num_batches_tracked": np.array(0)}
    assert written.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(written[name], value, err_msg=name)


def test_a_head_reads_task_options_and_writes_them(known, tmp_path):
    checkpoint(tmp_path / "theirs")
    model = modelzoo.build(tmp_path / "theirs", compile=False)
    options = model.recipe.table("task_options")
    assert options == {"labels": ["no", "yes"], "dropout": 0.25}
    write_checkpoint(model, tmp_path / "ours")
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert (config["drop_rate"], config["classes"]) == (0.25, ["no", "yes"])


def test_half_of_a_sum_is_missed_by_name(known, tmp_path):
    tensors = checkpoint(tmp_path / "theirs")
    del tensors["top.bias_b"]
    save_file(tensors, tmp_path / "theirs" / "model.safetensors")
    with pytest.raises(WeightsError, match="it lacks 1 tensor: top.bias_b"):
        modelzoo.build(tmp_path / "theirs", compile=False)


def test_a_rule_that_turns_all_axes_of_a_convolution_is_refused_both_ways(known, tmp_path):
    checkpoint(tmp_path / "theirs")
    model = modelzoo.build(tmp_path / "theirs", compile=False)
    known(table(linear))
    with pytest.raises(WeightsError, match="stem/kernel is a Conv2D's kernel") as caught:
        read_weights(model, open_checkpoint(tmp_path / "theirs"))
    assert "conv()" in caught.value.next_step
    with pytest.raises(WeightsError, match=r"rule for stem\.weight turns all axes round"):
        write_checkpoint(model, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


# === PyTorch itself ===


@pytest.mark.real
def test_convolutions_of_torch_answer_alike():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    x = normal(2, 9, 7, 4)
    for theirs, ours, made in (
        (nn.Conv2d(4, 6, 3), keras.layers.Conv2D(6, 3), conv),
        (nn.Conv2d(4, 6, (3, 2), groups=2), keras.layers.Conv2D(6, (3, 2), groups=2), conv),
        (nn.ConvTranspose2d(4, 6, 3), keras.layers.Conv2DTranspose(6, 3), conv),
        (
            nn.Conv2d(4, 8, 3, groups=4),
            keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
            depthwise,
        ),
        (nn.BatchNorm2d(4), keras.layers.BatchNormalization(epsilon=1e-5), batch_norm),
    ):
        ours.build(x.shape)
        if made is batch_norm:
            theirs.running_mean.copy_(torch.tensor(normal(4)))
            theirs.running_var.copy_(torch.tensor(np.abs(normal(4)) + 0.5))
        weights = {f"l/{weight.path.rpartition('/')[2]}": weight for weight in ours.weights}
        state = {f"l.{key}": value.numpy() for key, value in theirs.state_dict().items()}
        for rule in made("l", "l"):
            (value,) = to_ours(rule, state[rule.theirs], weights)
            weights[rule.ours[0]].assign(value)
        right = theirs.eval()(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        np.testing.assert_allclose(ours(x), right.detach().numpy(), rtol=1e-4, atol=1e-5)
