"""The shape of a transformer block, as data.

One frozen dataclass describes every block of the zoo: BERT, GPT, T5, BART, Llama and Gemma are
values of it, not classes of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from modelzoo.errors import RecipeError, check_choice, nearest
from modelzoo.recipe.experts import ExpertsConfig

NORMS = ("layer", "rms", "rms_unit_offset")
NORM_POSITIONS = ("pre", "post", "sandwich", "output")
QK_NORM_HEADS = ("shared", "separate", "joint")
ACTIVATIONS = ("gelu", "gelu_tanh", "quick_gelu", "relu", "silu")
ATTENTION_KINDS = ("global", "local")


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes and choices that all blocks of a stack share.

    Args:
        hidden_dim: width of the residual stream.
        num_heads: query heads.
        ffn_dim: width between the two feed-forward matrices.
        num_kv_heads: key and value heads; fewer than `num_heads` is grouped-query attention
            (Ainslie et al. 2023), one is multi-query. Default: `num_heads`.
        head_dim: width of a head, independent of `hidden_dim`. Default: `hidden_dim / num_heads`.
        norm: `"layer"` (LayerNorm), `"rms"` (RMSNorm, Zhang and Sennrich 2019) or
            `"rms_unit_offset"` (RMSNorm times `1 + weight`, as Gemma has it).
        norm_position: `"pre"` normalises what enters a sublayer, `"post"` the residual sum,
            `"sandwich"` what enters a sublayer and what leaves it (Gemma 3), and `"output"` only
            what leaves it (OLMo 2).
        norm_bias: LayerNorm adds a bias.
        norm_scale: LayerNorm multiplies with a gain (OLMo has none).
        first_attention_norm: off where the embeddings are normalised already (ModernBERT).
        qk_norm: normalise each head's queries and keys (Henry et al. 2020).
        qk_norm_heads: `"shared"` has one gain for all heads, `"separate"` one for each head
            (StableLM, Cohere; LayerNorm without a bias), and `"joint"` normalises all heads as one
            vector (OLMo 2).
        qk_norm_bias: the LayerNorm of queries and keys adds a bias. Default: `norm_bias`.
        activation: `"gelu"` (exact), `"gelu_tanh"`, `"quick_gelu"` (`x * sigmoid(1.702 x)`, CLIP),
            `"relu"` or `"silu"`.
        gated: multiply the activation with a second projection (GLU variants, Shazeer 2020).
        attention_key_bias: of the keys' projection, which softmax makes of no effect (Whisper has
            none). Default: `attention_bias`.
        attention_output_bias: of the projection after attention. Default: `attention_bias`.
        attention_extra_token: a trained key and value beside the tokens' (ImageBind); for stacks
            that see all of a sequence without padding.
        attention_scale: factor on the scores. Default: `head_dim ** -0.5`; T5 takes 1.
        attention_softcap: keep scores within it, `cap * tanh(score / cap)` (Gemma 2).
        attention_pattern: the kinds of the layers, repeated: five `"local"` and one `"global"`
            for Gemma 3. A local layer sees `sliding_window` tokens.
        sliding_window: tokens that a causal local layer sees, itself among them; one that looks
            both ways sees half as many on either side.
        rotary_theta: base of rotary positions (Su et al. 2021); `None` has none.
        rotary_local_theta: the same in local layers. Default: `rotary_theta`.
        rotary_fraction: the share of a head that turns; the rest stays as it is (Moonshine: 0.9).
        parallel_residual: attention and feed-forward read the same input, and both outputs are
            added to it (GPT-J, Wang and Komatsuzaki 2021); for pre-norm blocks.
        shared_norm: one norm for the two inputs of a parallel block (GPT-J, Phi, Cohere).
        residual_scale: factor on what a sublayer adds to the residual stream (Granite).
        rotary_scaling: how positions are stretched; see `positions.rotary_rates`. Local layers
            with a `rotary_local_theta` are not.
        rotary_pattern: whether a layer has rotary positions, repeated: three times `True` and once
            `False` for SmolLM3 (NoPE, Kazemnejad et al. 2023).
        experts: split the feed-forward layer of all layers, or of some, into experts; the keys of
            `ExpertsConfig`. Experts have no biases.
        layer_scale: what a trained factor on each number that a sublayer adds begins at (Touvron et
            al. 2021, CaiT; DINOv2, BEiT). Default: there is none.
        residual_init_scale: factor on the initial weights that write to the residual stream
            (GPT-2: `1 / sqrt(2 * num_layers)`).

    Raises:
        RecipeError: a value is not a known choice, or the heads do not divide up.

    Example:
        >>> TransformerConfig(hidden_dim=768, num_heads=12, ffn_dim=3072).size_per_head
        64
    """

    hidden_dim: int
    num_heads: int
    ffn_dim: int
    num_kv_heads: int | None = None
    head_dim: int | None = None
    norm: str = "layer"
    norm_position: str = "pre"
    norm_bias: bool = True
    norm_scale: bool = True
    first_attention_norm: bool = True
    qk_norm: bool = False
    qk_norm_heads: str = "shared"
    qk_norm_bias: bool | None = None
    norm_epsilon: float = 1e-5
    activation: str = "gelu"
    gated: bool = False
    attention_bias: bool = True
    attention_key_bias: bool | None = None
    attention_output_bias: bool | None = None
    attention_extra_token: bool = False
    ffn_bias: bool = True
    attention_scale: float | None = None
    attention_softcap: float | None = None
    attention_pattern: Sequence[str] = ("global",)
    sliding_window: int | None = None
    rotary_theta: float | None = None
    rotary_local_theta: float | None = None
    rotary_fraction: float = 1.0
    rotary_scaling: Mapping[str, Any] | None = None
    rotary_pattern: Sequence[bool] = (True,)
    experts: ExpertsConfig | Mapping[str, Any] | None = None
    layer_scale: float | None = None
    dropout: float = 0.0
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    parallel_residual: bool = False
    shared_norm: bool = False
    residual_scale: float = 1.0
    residual_init_scale: float = 1.0

    def __post_init__(self):
        for key in (
            "hidden_dim",
            "num_heads",
            "ffn_dim",
            "num_kv_heads",
            "head_dim",
            "sliding_window",
        ):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise RecipeError(f"{key} must be at least 1, not {value}")
        check_choice("norm", self.norm, NORMS)
        check_choice("norm_position", self.norm_position, NORM_POSITIONS)
        check_choice("qk_norm_heads", self.qk_norm_heads, QK_NORM_HEADS)
        check_choice("activation", self.activation, ACTIVATIONS)
        self._check_norms()
        if self.experts is not None:
            object.__setattr__(self, "experts", ExpertsConfig.of(self.experts))
            if self.ffn_bias:
                raise RecipeError("experts have no biases", next_step="set ffn_bias = false")
        for kind in self.attention_pattern:
            check_choice("attention_pattern", kind, ATTENTION_KINDS)
        if "local" in self.attention_pattern and self.sliding_window is None:
            raise RecipeError("local layers need a sliding_window")
        if self.head_dim is None and self.hidden_dim % self.num_heads:
            raise RecipeError(
                f"hidden_dim {self.hidden_dim} is not a multiple of num_heads {self.num_heads}",
                next_step="change one of the two, or set head_dim",
            )
        if self.num_heads % self.kv_heads:
            raise RecipeError(
                f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.kv_heads}"
            )
        if self.rotary_theta is not None and self.size_per_head % 2:
            raise RecipeError(f"rotary positions need an even head_dim, not {self.size_per_head}")
        if not 0 < self.rotary_fraction <= 1:
            raise RecipeError(f"rotary_fraction must lie in (0, 1], not {self.rotary_fraction}")
        for key in ("attention_pattern", "rotary_pattern"):
            if not getattr(self, key):
                raise RecipeError(f"{key} must name the kind of one layer or more")
        for key in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, key) < 1:
                raise RecipeError(f"{key} must lie in [0, 1), not {getattr(self, key)}")

    def _check_norms(self) -> None:
        if self.norm != "layer" and not self.norm_scale:
            raise RecipeError(f"norm {self.norm!r} has a gain: norm_scale = false needs 'layer'")
        plain = self.norm == "layer" and not self.has_qk_norm_bias
        if self.qk_norm and self.qk_norm_heads == "separate" and not plain:
            raise RecipeError(
                "qk_norm_heads 'separate' needs norm 'layer' and no bias",
                next_step="set norm = 'layer' and qk_norm_bias = false",
            )
        if self.parallel_residual and self.norm_position != "pre":
            raise RecipeError(
                f"parallel_residual needs norm_position 'pre', not {self.norm_position!r}"
            )
        if self.shared_norm and not self.parallel_residual:
            raise RecipeError("shared_norm needs parallel_residual")

    @classmethod
    def of(
        cls, parameters: Mapping[str, Any], *read: str, **choices: Any
    ) -> tuple[TransformerConfig, dict[str, Any]]:
        """A config from an architecture's parameters, and the parameters that it has no use for.

        Those go on to the backbone by name, which rejects what it does not know. So each parameter
        arrives somewhere, and a misspelt one never leaves a default in its place.

        Args:
            parameters: `dict(locals())` from the first lines of a `build`.
            *read: names of parameters that `build` makes into something else itself.
            **choices: fields, over the parameters of the same name.

        Raises:
            TypeError: `read` names no parameter, `choices` no field, or one of `hidden_dim`,
                `num_heads` and `ffn_dim` is missing.

        Example:
            >>> parameters = {"hidden_dim": 64, "num_heads": 2, "vocab_size": 99}
            >>> config, rest = TransformerConfig.of(parameters, ffn_dim=256, norm="rms")
            >>> config.size_per_head, config.norm, rest
            (32, 'rms', {'vocab_size': 99})
        """
        for name in read:
            if name not in parameters:
                near = nearest(name, parameters)
                raise TypeError(f"no parameter {name!r}" + (f": is it {near!r}?" if near else ""))
        own = {field.name for field in fields(cls)}
        taken = {key: value for key, value in parameters.items() if key in own}
        rest = {key: value for key, value in parameters.items() if key not in own | {*read}}
        return cls(**{**taken, **choices}), rest

    @property
    def kv_heads(self) -> int:
        return self.num_kv_heads or self.num_heads

    @property
    def has_qk_norm_bias(self) -> bool:
        return self.norm_bias if self.qk_norm_bias is None else self.qk_norm_bias

    @property
    def size_per_head(self) -> int:
        return self.head_dim or self.hidden_dim // self.num_heads

    def kind_of(self, layer: int) -> str:
        """`"global"` or `"local"`, of a layer by its number."""
        return self.attention_pattern[layer % len(self.attention_pattern)]

    def has_experts(self, layer: int) -> bool:
        """Whether a layer's feed-forward is split into experts, by its number."""
        return self.experts is not None and self.experts.has_experts(layer)

    def has_rotary(self, layer: int) -> bool:
        """Whether positions turn the queries and keys of a layer, by its number."""
        turns = self.rotary_pattern[layer % len(self.rotary_pattern)]
        return self.rotary_theta is not None and turns

    @property
    def score_scale(self) -> float:
        return self.size_per_head**-0.5 if self.attention_scale is None else self.attention_scale
