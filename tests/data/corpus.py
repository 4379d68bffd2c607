"""A few texts, English, Chinese and code, that give tokenizers something to learn."""

CORPUS = [
    "The quick brown fox jumps over the lazy dog. It does so every day! Does the dog mind?",
    "今天天气很好，我们去公园散步。你觉得怎么样？我觉得很好！",
    "def add(a, b):\n    return a + b  # the sum\n\n\tprint(add(1, 2))",
    "A rose is a rose is a rose. The fox likes the rose; the dog likes the fox.",
] * 4
