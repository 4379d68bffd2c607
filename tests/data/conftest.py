import pytest

from modelzoo.data.train_tokenizer import specials_for, train_tokenizer
from tests.data.corpus import CORPUS


@pytest.fixture(scope="session")
def gpt_tokenizer():
    return train_tokenizer(CORPUS, "bpe", 320, specials_for("causal-lm"))


@pytest.fixture(scope="session")
def bert_tokenizer():
    return train_tokenizer(CORPUS, "wordpiece", 600, specials_for("masked-lm"))


@pytest.fixture(scope="session")
def t5_tokenizer():
    return train_tokenizer(CORPUS, "unigram", 320, specials_for("seq2seq-lm"))
