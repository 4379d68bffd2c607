"""The form in which an architecture's weights and configuration are mapped, in both directions.

A table is data. Hugging Face's names stand on the left, ours on the right; `{i}` is the layer. What
is read through a table is written through the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from modelzoo.errors import WeightsError, nearest
from modelzoo.weights.keys import Asked, check_kind, kind_of_ours, not_read

# Hugging Face's names of activations, and ours. The first of equals is the one that is written.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "quick_gelu": "quick_gelu",
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
        plus: further tensors of theirs; ours is the sum of all, and is written into the first, with
            zeros in these.
        stacked: our key of a number of heads or experts: theirs has a tensor for each, with `{h}`
            in its name, and ours all of them along its first axis.
        transpose: all axes turned round: they keep a matrix as (out, in), we as (in, out). A
            convolution needs `conv`. Of a stacked rule, all axes but the first.
        axes: ours is `theirs.transpose(axes)`.
        depthwise: ours (..., C, M) is first seen as (..., C * M, 1): M outputs of each channel.
        ones: axes of length 1 that theirs begins with, and ours has not.
        grid: it holds a row for each place of an image; see `grid`.
        paired: their rotary pairs lie side by side in each head, and ours in its two halves.
        partial: which of `ours`, by number, hold heads of which positions turn a part: it comes
            first in their heads, and ours has half of it at the start of either half.
        fused: ours are query, key and value, and theirs has for each head of keys its queries, the
            key and the value side by side.
        order: once it is a model's, where ours has the numbers of a head in theirs; empty for the
            same order.
        groups: once it is a model's, heads of keys of a fused rule.
    """

    theirs: str
    ours: tuple[str, ...]
    transpose: bool = False
    ones: int = 0
    grid: bool = False
    paired: bool = False
    partial: tuple[int, ...] = ()
    fused: bool = False
    stacked: str = ""
    order: tuple[int, ...] = ()
    groups: int = 1
    plus: tuple[str, ...] = ()
    axes: tuple[int, ...] | None = None
    depthwise: bool = False

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of all its tensors."""
        return (self.theirs, *self.plus)

    def at(self, layer: int) -> Rule:
        """The rule of one layer."""
        ours = tuple(path.replace("{i}", str(layer)) for path in self.ours)
        theirs, *plus = (name.replace("{i}", str(layer)) for name in self.tensors)
        return replace(self, theirs=theirs, plus=tuple(plus), ours=ours)

    def of_model(self, values: Mapping[str, Any]) -> Rule:
        """The rule for a model with these `[model]` values: with `order`, `groups` and heads.

        >>> rule = Rule("q", ("query",), partial=(0,))
        >>> rule.of_model({"hidden_dim": 16, "num_heads": 2, "rotary_fraction": 0.5}).order
        (0, 1, 4, 5, 2, 3, 6, 7)
        """
        found = self
        if self.stacked:
            each = [self.theirs.replace("{h}", str(head)) for head in range(values[self.stacked])]
            found = replace(found, theirs=each[0], plus=tuple(each[1:]))
        if self.fused:
            found = replace(found, groups=values["num_kv_heads"] or values["num_heads"])
        if self.paired or self.partial:
            width = values.get("head_dim") or values["hidden_dim"] // values["num_heads"]
            pairs = len(range(0, int(width * values.get("rotary_fraction", 1.0)), 2))
            found = replace(found, order=_head_order(width, pairs, self.paired))
        return found

    def prefixed(self, theirs: str, ours: str) -> Rule:
        first, *plus = (theirs + name for name in self.tensors)
        paths = tuple(ours + path for path in self.ours)
        return replace(self, theirs=first, plus=tuple(plus), ours=paths)


def _head_order(width: int, pairs: int, paired: bool) -> tuple[int, ...]:
    if paired:
        return (*range(0, width, 2), *range(1, width, 2))
    turning, middle = 2 * pairs, pairs + width // 2
    low = (*range(pairs), *range(turning, middle))
    return (*low, *range(pairs, turning), *range(middle, width))


def same(theirs: str, ours: str, ones: int = 0, grid: bool = False) -> list[Rule]:
    """A tensor that is stored alike on both sides: an embedding table, a bias."""
    return [Rule(theirs, (ours,), ones=ones, grid=grid)]


def linear(theirs: str, *ours: str, transpose: bool = True) -> list[Rule]:
    """A dense layer, or several that they keep as one: `weight` and `bias`."""
    return [
        Rule(f"{theirs}.weight", tuple(f"{path}/kernel" for path in ours), transpose),
        Rule(f"{theirs}.bias", tuple(f"{path}/bias" for path in ours)),
    ]


def conv(theirs: str, ours: str, dims: int = 2) -> list[Rule]:
    """PyTorch's convolution with `dims` axes of space, transposed or in groups too.

    >>> conv("stem", "stem")[0].axes  # (out, in, height, width) -> (height, width, in, out)
    (2, 3, 1, 0)
    """
    axes = (*range(2, 2 + dims), 1, 0)
    return [
        Rule(f"{theirs}.weight", (f"{ours}/kernel",), axes=axes),
        Rule(f"{theirs}.bias", (f"{ours}/bias",)),
    ]


def depthwise(theirs: str, ours: str, dims: int = 2) -> list[Rule]:
    """PyTorch's convolution with a group for each channel, as Keras' `DepthwiseConv2D` or `1D`.

    >>> depthwise("blur", "blur")[0].axes  # (channels, 1, height, width) -> (height, width, …)
    (2, 3, 0, 1)
    """
    axes = (*range(2, 2 + dims), 0, 1)
    return [
        Rule(f"{theirs}.weight", (f"{ours}/kernel",), axes=axes, depthwise=True),
        Rule(f"{theirs}.bias", (f"{ours}/bias",)),
    ]


def batch_norm(theirs: str, ours: str) -> list[Rule]:
    """PyTorch's batch norm; its count of batches is not read, and written as 0."""
    return [
        *layer_norm(theirs, ours),
        Rule(f"{theirs}.running_mean", (f"{ours}/moving_mean",)),
        Rule(f"{theirs}.running_var", (f"{ours}/moving_variance",)),
    ]


def summed(theirs: str, *more: str, ours: str) -> list[Rule]:
    """Several tensors of theirs whose sum is one weight of ours, such as the biases of an LSTM."""
    return [Rule(theirs, (ours,), plus=more)]


def paired(rules: Iterable[Rule]) -> list[Rule]:
    """Rules of queries or keys whose rotary pairs lie side by side."""
    return [replace(rule, paired=True) for rule in rules]


def partial(rules: Iterable[Rule]) -> list[Rule]:
    """Rules of queries or keys of which positions turn the first `rotary_fraction` of a head."""
    return [replace(rule, partial=(0,)) for rule in rules]


def fused(theirs: str, ours: str, partial: bool = False) -> list[Rule]:
    """Query, key and value of the attention `ours`, which they keep as one, head by head."""
    parts = (f"{ours}/{part}" for part in ("query", "key", "value"))
    places = (0, 1) if partial else ()
    return [replace(rule, fused=True, partial=places) for rule in linear(theirs, *parts)]


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


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Keys with dots as tables within tables.

    >>> nested({"a": 1, "b.c": 2, "b.d": 3})
    {'a': 1, 'b': {'c': 2, 'd': 3}}
    """
    found: dict = {}
    for key, value in flat.items():
        *tables, last = key.split(".")
        place = found
        for table in tables:
            place = place.setdefault(table, {})
        place[last] = value
    return found


@dataclass(frozen=True)
class Value:
    """A key of their `config.json` and the key of our `[model]` table that means the same.

    A dot leads into a table: `Value("vision_config.hidden_size", "image.model.hidden_dim")`.

    Attributes:
        default: where their file leaves it out; `...` means that it must be there.
        names: their values and ours, where they are called differently.
        shift: ours is theirs plus this.
    """

    theirs: str
    ours: str
    default: Any = ...
    names: Mapping[Any, Any] | None = None
    shift: int = 0

    def read(self, config: Mapping, where: str) -> Any:
        value: Any = config
        for key in self.theirs.split("."):
            value = value.get(key, ...) if isinstance(value, Mapping) else ...
        if value is ... or (value is None and self.default is None):
            value = self.default
        elif self.names is None:
            check_kind(self.theirs, value, kind_of_ours(self.ours), f"{where}, config.json")
        if value is ...:
            raise WeightsError(f"config.json has no {self.theirs!r}", where=where)
        if self.names is not None and value is not None:
            if not isinstance(value, str | int) or value not in self.names:
                raise WeightsError(
                    f"{self.theirs} {value!r} is not supported",
                    where=f"{where}, config.json",
                    did_you_mean=nearest(str(value), map(str, self.names)),
                    next_step=f"there is {', '.join(map(str, self.names))}",
                )
            value = self.names[value]
        return value + self.shift if self.shift and value is not None else value

    def write(self, value: Any) -> Any:
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
        values: keys of `config.json` that correspond to keys of `[task_options]` one to one.
        read, write: what `values` cannot say: (config, names of tensors) -> our options, and (our
            options) -> their keys. All of it goes over what the task itself reads and writes.
    """

    classes: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    copies: Mapping[str, str | None] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    values: tuple[Value, ...] = ()
    read: Callable[[Mapping, frozenset[str]], dict] = _nothing
    write: Callable[[Mapping], dict] = _nothing

    def read_options(self, config: Mapping, names: frozenset[str], where: str) -> dict[str, Any]:
        """Our `[task_options]` that `values` and `read` find in their configuration."""
        stated = {value.ours: value.read(config, where) for value in self.values}
        found = {**stated, **self.read(config, names)}
        return {key: value for key, value in found.items() if value is not None}

    def write_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Their keys for our `[task_options]`, the task's defaults among them."""
        stated = {v.theirs: v.write(options[v.ours]) for v in self.values if v.ours in options}
        return nested({**stated, **self.write(options)})


class _Noted(dict):
    """Values that remember which of them were looked at."""

    def __init__(self, values: Mapping):
        super().__init__(values)
        self.keys_read: set[str] = set()

    def __getitem__(self, key):
        self.keys_read.add(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.keys_read.add(key)
        return super().get(key, default)


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
        part_rules: the same for parts: `{"image.model.num_layers": ...}`; a key whose value is a
            list counts its items.
        values: keys that correspond one to one.
        fixed: keys of ours that this model type determines.
        assumed: keys of theirs that have this value or are left out; others are not supported.
        aliases: a second name of a key of theirs -> the first: `{"n_ctx": "n_positions"}`.
        neutral: keys of theirs that nothing reads, and the value at which they change nothing.
        unused: keys of theirs that mean nothing here; see `weights.keys.UNUSED` for all tables'.
        heads: by our task.
        ignored: regular expressions of tensors that hold nothing of the model.
        read, write: what `values` cannot say: (config, names of tensors) -> our keys, and (our
            values) -> their keys. What `read` looks at counts as read.
        read_media, write_media: the same for their `preprocessor_config.json`.
        by_names: our keys that `read` takes from the tensors' names.
        roles: our role of a token -> theirs that plays it: `{"sep": "eos"}`.
        derived: our values -> tensors of theirs that follow from these: written, and where a
            checkpoint holds them, compared.
        written_as: the model type that is written in place of this one, which differs from it in
            nothing but its name.
    """

    model_type: str
    architecture: str
    prefix: str
    rules: tuple[Rule, ...]
    layer_rules: tuple[Rule, ...]
    values: tuple[Value, ...]
    heads: Mapping[str, Head]
    decoder_rules: tuple[Rule, ...] = ()
    part_rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    neutral: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    read: Callable[[Mapping, frozenset[str]], dict] = _nothing
    write: Callable[[Mapping], dict] = _nothing
    read_media: Callable[[Mapping], dict] = _nothing
    write_media: Callable[[Mapping], dict] = _nothing
    by_names: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    derived: Callable[[Mapping], dict] = _nothing
    written_as: str | None = None

    def read_config(
        self, config: Mapping, names: frozenset[str], where: str, of_task: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Our `[model]` values of their configuration.

        Args:
            of_task: keys that the task has read, besides those of the table.

        Raises:
            WeightsError: a key is missing, has a value that is not supported here, or is not known
                and might change the model.
        """
        config = {self._first_name(key, config): value for key, value in config.items()}
        for key, value in self.assumed.items():
            if config.get(key, value) not in (value, None):
                raise WeightsError(
                    f"{self.model_type} with {key} = {config[key]!r} is not supported, "
                    f"only {value!r}",
                    where=f"{where}, config.json",
                )
        values = {value.ours: value.read(config, where) for value in self.values}
        asked = Asked(config, f"{where}, config.json")
        values |= self.read(asked, names)
        kinds = config.get("architectures") or ()
        for head in self.heads.values():
            if any(kind in head.classes for kind in kinds):
                head.read(asked, names)  # for the keys that it asks for
        read = [*self.values, *(value for head in self.heads.values() for value in head.values)]
        used = {*of_task, *asked.keys_asked, *self.assumed, *(value.theirs for value in read)}
        rest = not_read(config, used, self.neutral, self.unused)
        if rest:
            raise WeightsError(
                f"a {self.model_type} with {', '.join(rest)} is not supported: "
                f"{'these keys' if len(rest) > 1 else 'this key'} would be passed over",
                where=f"{where}, config.json",
                did_you_mean=nearest(rest[0].partition(" ")[0], used),
                next_step="take a model without it; where you know that it changes no answer, "
                "remove it from config.json",
            )
        return {**self.fixed, **values}

    def _first_name(self, key: str, config: Mapping) -> str:
        """A key's first name, unless the file has that as well."""
        first = self.aliases.get(key, key)
        return key if first in config else first

    def write_config(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Their keys for all our `[model]` values; see `mapping.model_values`.

        Raises:
            WeightsError: their model type knows no such model.
        """
        for key in self.differing(values):
            raise WeightsError(
                f"a {self.model_type} has {key} = {self.fixed[key]!r}, and this model "
                f"{values[key]!r}"
            )
        missing = [value.ours for value in self.values if value.ours not in values]
        if missing:
            raise WeightsError(f"a {self.model_type} has {missing[0]}, and this model none")
        theirs = {value.theirs: value.write(values[value.ours]) for value in self.values}
        return nested(
            {
                "model_type": self.model_type,
                **self.assumed,
                **theirs,
                **self.write(values),
            }
        )

    def differing(self, values: Mapping[str, Any]) -> list[str]:
        """Our keys that have one value in every model of this type, and another one here."""
        return [key for key, value in self.fixed.items() if values.get(key, value) != value]

    def can_say(self, values: Mapping[str, Any]) -> bool:
        """Whether their model type knows a model with these `[model]` values."""
        try:
            self.write_config(values)
        except WeightsError:
            return False
        return True

    def said(self, values: Mapping[str, Any]) -> set[str]:
        """Our keys that their files say, or that this model type determines."""
        noted = _Noted(values)
        with suppress(WeightsError):  # written as a simpler type, such as a Mistral without windows
            self.write(noted)
            self.write_media(noted)
        return self.said_outright() | noted.keys_read

    def said_outright(self) -> set[str]:
        """The same without what `write` looks at, for a model that it rejects."""
        return {*self.fixed, *(value.ours for value in self.values), *self.by_names}

    def all_rules(self, task: str, values: Mapping[str, Any]) -> list[Rule]:
        """The rules of a model with these `[model]` values and this task, layer by layer."""
        head = self.heads.get(task, Head(()))
        replaced = {path for rule in head.rules for path in rule.ours}
        found = [rule for rule in self.rules if not replaced.intersection(rule.ours)]
        layers = int(values.get("num_layers") or 0)
        found += [rule.at(i) for i in range(layers) for rule in self.layer_rules]
        for i in range(int(values.get("num_decoder_layers") or layers)):
            found += [rule.at(i) for rule in self.decoder_rules]
        for key, each in self.part_rules.items():
            value = values.get(key) or 0
            count = len(value) if isinstance(value, list | tuple) else int(value)
            found += [rule.at(i) for i in range(count) for rule in each]
        return [*(rule.of_model(values) for rule in found), *head.rules]
