"""GGUF, llama.cpp's files: configuration, weights and tokenizer in one."""
