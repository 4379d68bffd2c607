"""Checkpoints of other projects: Hugging Face layout and GGUF in, Hugging Face layout out."""
