import pytest

from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.tasks.profile import said
from tests.data.corpus import CORPUS


@pytest.fixture(scope="session")
def gpt_tokenizer():
    return train_tokenizer(CORPUS, "bpe", 320, said("causal-lm", "special_tokens"))


@pytest.fixture(scope="session")
def bert_tokenizer():
    return train_tokenizer(CORPUS, "wordpiece", 600, said("masked-lm", "special_tokens"))


@pytest.fixture(scope="session")
def t5_tokenizer():
    return train_tokenizer(CORPUS, "unigram", 320, said("seq2seq-lm", "special_tokens"))
