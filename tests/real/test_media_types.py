"""Model types that see and hear, against `transformers`: the same numbers in both directions.

Nothing is downloaded: `transformers` makes small models with seeded random weights, biases and
gains included, and writes them as it writes real ones. Pictures and sounds go in as files would.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import modelzoo  # noqa: E402
from modelzoo.errors import WeightsError  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from modelzoo.weights.tables import TABLES  # noqa: E402
from tests.core import number  # noqa: E402
from tests.layers.test_spectrogram import noise, speech  # noqa: E402
from tests.real.noted import note  # noqa: E402
from tests.real.test_vision import PICTURES, pixels, prepared, seeded  # noqa: E402

pytestmark = pytest.mark.real

LABELS = {"id2label": {i: f"label {i}" for i in range(5)}, "label2id": {}}
_SEEN = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
    **LABELS,
}
_WIDE = {**_SEEN, "intermediate_size": 48}
_SIDES = {"height": 32, "width": 32}
_HEARD = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16, 24, 16),
    "conv_stride": (5, 2, 2),
    "conv_kernel": (10, 3, 2),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 8,
    **LABELS,
}
_LARGE = {
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
    "num_conv_pos_embeddings": 15,
}


@dataclass(frozen=True)
class Case:
    """A model of `transformers`: its class, what its configuration says, and what feeds it.

    Attributes:
        kind: the class of the model.
        config: keys that are not at their defaults.
        processor: the class of what makes its inputs, and its options.
    """

    kind: str
    config: Mapping[str, Any]
    processor: str
    options: Mapping[str, Any] = field(default_factory=dict)


def _cut(shorter: int, **sides: int) -> dict:
    """Options of a processor that cuts 32 x 32 out of the middle."""
    return {"size": sides or {"shortest_edge": shorter}, "crop_size": _SIDES}


_DEIT, _BIT = _cut(0, height=40, width=40), _cut(40)
_SQUARE, _EAR = {"size": _SIDES}, "Wav2Vec2FeatureExtractor"
# Model type, and what is special in this one -> case. Every option of a type is on in one of them.
CASES = {
    "beit": Case(
        "BeitForImageClassification",
        {**_WIDE, "use_relative_position_bias": True, "layer_scale_init_value": 0.2},
        "BeitImageProcessorPil",
        {**_SQUARE, "image_mean": [0.4, 0.5, 0.6], "resample": 2},
    ),
    "beit, shared bias": Case(
        "BeitForImageClassification",
        {
            **_WIDE,
            "use_shared_relative_position_bias": True,
            "use_absolute_position_embeddings": True,
            "use_mean_pooling": False,
            "use_mask_token": True,
            "layer_scale_init_value": 0.0,
        },
        "BeitImageProcessorPil",
        _SQUARE,
    ),
    "deit": Case("DeiTForImageClassification", _WIDE, "DeiTImageProcessorPil", _DEIT),
    "deit, two heads": Case(
        "DeiTForImageClassificationWithTeacher", _WIDE, "DeiTImageProcessorPil", _DEIT
    ),
    "dinov2": Case(
        "Dinov2ForImageClassification", {**_SEEN, "mlp_ratio": 3}, "BitImageProcessorPil", _BIT
    ),
    "dinov2, swiglu, larger": Case(
        "Dinov2ForImageClassification",
        {**_SEEN, "use_swiglu_ffn": True, "image_size": 48},
        "BitImageProcessorPil",
        _BIT,
    ),
    "hubert": Case("HubertForSequenceClassification", _HEARD, _EAR),
    "wav2vec2": Case("Wav2Vec2ForSequenceClassification", _HEARD, _EAR),
    "wav2vec2, large": Case(
        "Wav2Vec2ForSequenceClassification", {**_HEARD, **_LARGE}, _EAR, {"do_normalize": False}
    ),
    "wav2vec2, all layers": Case(
        "Wav2Vec2ForSequenceClassification", {**_HEARD, "use_weighted_layer_sum": True}, _EAR
    ),
}
SAMPLES = {"speech": speech(16_000), "a shorter noise": noise(9_001)}


def theirs_of(name: str, folder: Path):
    """The model of a case, written to a folder with its processor."""
    case = CASES[name]
    kind = getattr(transformers, case.kind)
    torch.manual_seed(0)
    model = seeded(kind(kind.config_class(**case.config)))
    model.save_pretrained(folder)
    processor = getattr(transformers, case.processor)(**case.options)
    processor.save_pretrained(folder)
    return model, processor


def answers(model, processor) -> tuple[np.ndarray, np.ndarray]:
    """Logits of theirs, and hidden states of the first input."""
    hears = isinstance(processor, transformers.Wav2Vec2FeatureExtractor)
    logits = []
    with torch.no_grad():
        for source in SAMPLES.values() if hears else [[one] for one in PICTURES]:
            given = heard(processor, source) if hears else pixels(processor, source)
            logits.append(model(given).logits.numpy()[0])
            if len(logits) == 1:
                hidden = model.base_model(given).last_hidden_state.numpy()[0]
    return np.stack(logits), hidden


def heard(processor, sound: np.ndarray):
    return processor(sound, sampling_rate=16_000, return_tensors="pt").input_values


def our_answers(model) -> tuple[np.ndarray, np.ndarray]:
    """The same of ours."""
    if "image" in model.processing():
        images = prepared(model, PICTURES)
        return number(model(images)), number(model.backbone(images)["sequence"])[0]
    length = model.backbone.num_samples
    audio = np.stack([np.pad(one, (0, length - len(one))) for one in SAMPLES.values()])
    given = {"audio": audio, "num_samples": np.array([*map(len, SAMPLES.values())], "int32")}
    return number(model(given)), number(model.backbone(given)["sequence"])[0]


def built(folder: Path, model):
    """Ours of a checkpoint, with a window as long as the longest sound."""
    window = {"num_samples": 16_000} if hasattr(model.config, "conv_dim") else {}
    return modelzoo.build(folder, compile=False, **window)


def differences(name: str, folder: Path) -> tuple[float, float]:
    """The largest difference of what is read here, and of what is written here and read there."""
    theirs, processor = theirs_of(name, folder)
    ours = built(folder, theirs)
    wanted, got = answers(theirs, processor), our_answers(ours)
    away = [np.abs(a - b).max() for a, b in zip(wanted, got, strict=True)]
    assert np.ptp(wanted[0]) > 0.1
    back = write_checkpoint(ours, folder / "back")
    auto = transformers.AutoModelForImageClassification
    if "conv_dim" in theirs.config.to_dict():
        auto = transformers.AutoModelForAudioClassification
    kind = auto if TABLES[name.partition(",")[0]].written_as else type(theirs)
    again, report = kind.from_pretrained(back, output_loading_info=True)
    assert not {key: names for key, names in report.items() if names}
    reread = answers(again.eval(), type(processor).from_pretrained(back))
    back = max(np.abs(a - b).max() for a, b in zip(wanted, reread, strict=True))
    return note(theirs, *away), back


@pytest.mark.parametrize("name", CASES)
def test_it_has_their_numbers_and_they_have_ours(name, tmp_path):
    read, written = differences(name, tmp_path)
    assert read < 1e-4 and written < 1e-4, f"{name}: {read:.2g} read, {written:.2g} written"


@pytest.mark.parametrize("name", ["dinov2", "deit", "wav2vec2", "hubert", "beit"])
def test_a_backbone_alone_becomes_what_their_classifier_is_put_on(name, tmp_path):
    theirs, processor = theirs_of(name, tmp_path / "whole")
    theirs.base_model.save_pretrained(tmp_path / "bare")
    processor.save_pretrained(tmp_path / "bare")
    with pytest.warns(UserWarning, match="no weights for"):
        ours = built(tmp_path / "bare", theirs)
    wanted, got = answers(theirs, processor)[1], our_answers(ours)[1]
    np.testing.assert_allclose(got, wanted, atol=1e-4)
    if name == "dinov2":  # its own pooled output is the class token
        images = prepared(ours, PICTURES[:1])
        pooled = number(ours.backbone(images)["pooled"])[0]
        np.testing.assert_allclose(pooled[:32], wanted[0], atol=1e-4)
    back = write_checkpoint(ours, tmp_path / "back")
    kind = json.loads((back / "config.json").read_text())["architectures"]
    assert kind == [CASES[name].kind.replace("Hubert", "Wav2Vec2")]


def test_a_fixed_resolution_siglip_2_is_a_siglip(tmp_path):
    text = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "projection_size": 32}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 12}
    config = transformers.SiglipConfig(
        text_config={**text, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0},
        vision_config={key: value for key, value in _WIDE.items() if key not in LABELS},
    )
    theirs = seeded(transformers.SiglipModel(config))
    theirs.save_pretrained(tmp_path)
    processor = transformers.SiglipImageProcessorPil(size=_SIDES, resample=2)
    processor.save_pretrained(tmp_path)
    ours = modelzoo.build(tmp_path, compile=False)
    assert ours.processing()["image"]["interpolation"] == "bilinear"
    ids = np.random.default_rng(0).integers(3, 300, (4, 12)).astype("int32")
    with torch.no_grad():
        found = theirs(pixel_values=pixels(processor, PICTURES), input_ids=torch.tensor(ids).long())
    got = ours.backbone({"images": prepared(ours, PICTURES), "token_ids": ids})
    for mine, wanted in (("image", found.image_embeds), ("text", found.text_embeds)):
        unit = wanted / wanted.norm(dim=-1, keepdim=True)
        np.testing.assert_allclose(number(got[mine]), unit.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("deit", {"qkv_bias": False}, "qkv_bias = False is not supported"),
        ("deit", {"architectures": ["DeiTForMaskedImageModeling"]}, "has no counterpart"),
        ("dinov2", {"mlp_ratio": "4"}, "mlp_ratio must be a number above 0"),
        ("beit", {"use_shared_relative_position_bias": True}, "a relative bias of their own and"),
        ("beit", {"architectures": ["BeitForSemanticSegmentation"]}, "has no counterpart"),
        ("wav2vec2", {"architectures": ["Wav2Vec2ForCTC"]}, "'Wav2Vec2ForCTC' has no counterpart"),
        ("wav2vec2", {"add_adapter": True}, "add_adapter = True is not supported"),
        ("wav2vec2", {"conv_dim": [4, 4]}, "conv_dim has 2 numbers; conv_kernel has 3"),
        ("wav2vec2", {"feat_extract_activation": "relu"}, "feat_extract_activation = 'relu'"),
        ("hubert", {"conv_pos_batch_norm": True}, "conv_pos_batch_norm = True is not supported"),
    ],
)
def test_what_is_not_read_is_refused_by_name(name, changes, message, tmp_path):
    theirs_of(name, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(WeightsError, match=message):
        modelzoo.build(tmp_path)
