"""The form in which an architecture's weights and configuration are mapped, in both directions.

A table is data. Hugging Face's names stand on the left, ours on the right; `{i}` is the layer. What
is read through a table is written through the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from modelzoo.errors import WeightsError, nearest

# Hugging Face's names of activations, and ours. The first of equals is the one that is written.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


# === Weights ===


@dataclass(frozen=True)
class Rule:
    """One tensor of theirs is one weight of ours, or several side by side.

    Attributes:
        theirs: a tensor's name.
        ours: paths of weights; several are parts of their tensor, in this order.
        transpose: they keep a matrix as (out, in), we as (in, out).
    """

    theirs: str
    ours: tuple[str, ...]
    transpose: bool = False

    def at(self, layer: int) -> Rule:
        """The rule of one layer."""
        ours = tuple(path.replace("{i}", str(layer)) for path in self.ours)
        return Rule(self.theirs.replace("{i}", str(layer)), ours, self.transpose)

    def prefixed(self, theirs: str, ours: str) -> Rule:
        return Rule(theirs + self.theirs, tuple(ours + path for path in self.ours), self.transpose)


def same(theirs: str, ours: str) -> list[Rule]:
    """A tensor that is stored alike on both sides: an embedding table, a bias."""
    return [Rule(theirs, (ours,))]


def linear(theirs: str, *ours: str, transpose: bool = True) -> list[Rule]:
    """A dense layer, or several that they keep as one: `weight` and `bias`."""
    return [
        Rule(f"{theirs}.weight", tuple(f"{path}/kernel" for path in ours), transpose),
        Rule(f"{theirs}.bias", tuple(f"{path}/bias" for path in ours)),
    ]


def layer_norm(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}.weight", (f"{ours}/gamma",)),
        Rule(f"{theirs}.bias", (f"{ours}/beta",)),
    ]


def rms_norm(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}.weight", (f"{ours}/scale",))]


def rules(*groups: Iterable[Rule], theirs: str = "", ours: str = "") -> tuple[Rule, ...]:
    """Groups of rules in one tuple, with something before each name."""
    return tuple(rule.prefixed(theirs, ours) for group in groups for rule in group)


# === Configuration ===


@dataclass(frozen=True)
class Value:
    """A key of their `config.json` and the key of our `[model]` table that means the same.

    Attributes:
        default: where their file leaves it out; `...` means that it must be there.
        names: their values and ours, where they are called differently.
        shift: ours is theirs plus this.
    """

    theirs: str
    ours: str
    default: object = ...
    names: Mapping[object, object] | None = None
    shift: int = 0

    def read(self, config: Mapping, where: str) -> object:
        value = config.get(self.theirs, self.default)
        if value is ...:
            raise WeightsError(f"config.json has no {self.theirs!r}", where=where)
        if self.names is not None and value is not None:
            if value not in self.names:
                raise WeightsError(
                    f"{self.theirs} {value!r} is not supported",
                    where=f"{where}, config.json",
                    did_you_mean=nearest(str(value), map(str, self.names)),
                    next_step=f"there is {', '.join(map(str, self.names))}",
                )
            value = self.names[value]
        return value + self.shift if self.shift else value

    def write(self, value: object) -> object:
        if self.names is not None:
            value = next((a for a, b in self.names.items() if b == value), value)
        return value - self.shift if self.shift else value


def activation(theirs: str, names: Mapping[str, str] = ACTIVATIONS, default: object = ...) -> Value:
    return Value(theirs, "activation", default, names)


def _nothing(*_) -> dict:
    return {}


@dataclass(frozen=True)
class Head:
    """What stands on top of the backbone for one task.

    Attributes:
        classes: their names of such a model, the one that is written first.
        rules: as `Table.rules`; a rule of the backbone for the same weight gives way.
        copies: tensor -> the tensor that it repeats, or `None` for one that is derived: read over,
            and not written.
        options: our `[task_options]` that this head means.
    """

    classes: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    copies: Mapping[str, str | None] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """How a model type of Hugging Face maps onto an architecture of ours.

    Attributes:
        model_type: as their `config.json` has it.
        architecture: ours.
        prefix: what their names of the backbone begin with where there is a head on top.
        layers: our keys of the number of layers, `num_layers` for `{i}` and so on.
        rules: the backbone's weights, their names with the prefix.
        layer_rules: those of each layer; `{i}` counts.
        values: keys that correspond one to one.
        fixed: keys of ours that this model type determines.
        assumed: keys of theirs that have this value or are left out; others are not supported.
        heads: by our task.
        ignored: regular expressions of tensors that hold nothing of the model.
        read, write: what `values` cannot say: (config, names of tensors) -> our keys, and (our
            values) -> their keys.
    """

    model_type: str
    architecture: str
    prefix: str
    rules: tuple[Rule, ...]
    layer_rules: tuple[Rule, ...]
    values: tuple[Value, ...]
    heads: Mapping[str, Head]
    decoder_rules: tuple[Rule, ...] = ()
    fixed: Mapping[str, object] = field(default_factory=dict)
    assumed: Mapping[str, object] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    read: Callable[[Mapping, frozenset[str]], dict] = _nothing
    write: Callable[[Mapping], dict] = _nothing

    def read_config(self, config: Mapping, names: frozenset[str], where: str) -> dict[str, object]:
        """Our `[model]` values of their configuration.

        Raises:
            WeightsError: a key is missing, or has a value that is not supported here.
        """
        for key, value in self.assumed.items():
            if config.get(key, value) not in (value, None):
                raise WeightsError(
                    f"{self.model_type} with {key} = {config[key]!r} is not supported, "
                    f"only {value!r}",
                    where=f"{where}, config.json",
                )
        values = {value.ours: value.read(config, where) for value in self.values}
        return {**self.fixed, **values, **self.read(config, names)}

    def write_config(self, values: Mapping[str, object]) -> dict[str, object]:
        """Their keys for all our `[model]` values; see `mapping.model_values`.

        Raises:
            WeightsError: their model type knows no such model.
        """
        for key, value in self.fixed.items():
            if values.get(key, value) != value:
                raise WeightsError(
                    f"a {self.model_type} has {key} = {value!r}, and this model {values[key]!r}"
                )
        theirs = {value.theirs: value.write(values[value.ours]) for value in self.values}
        return {
            "model_type": self.model_type,
            **self.assumed,
            **theirs,
            **self.write(values),
        }

    def can_say(self, values: Mapping[str, object]) -> bool:
        """Whether their model type knows a model with these `[model]` values."""
        try:
            self.write_config(values)
        except WeightsError:
            return False
        return True

    def all_rules(self, task: str, values: Mapping[str, object]) -> list[Rule]:
        """The rules of a model with these `[model]` values and this task, layer by layer."""
        head = self.heads.get(task, Head(()))
        replaced = {path for rule in head.rules for path in rule.ours}
        found = [rule for rule in self.rules if not replaced.intersection(rule.ours)]
        layers = int(values["num_layers"])
        found += [rule.at(i) for i in range(layers) for rule in self.layer_rules]
        for i in range(int(values.get("num_decoder_layers") or layers)):
            found += [rule.at(i) for rule in self.decoder_rules]
        return [*found, *head.rules]
