"""Chat templates of the common shapes, written for the tests, and tokenizers that fit them."""

import json

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from modelzoo.runtime.bundle import write_manifest
from modelzoo.runtime.text.token_stream import byte_characters
from modelzoo.runtime.text.tokenizer import Tokenizer

# As SmolLM2 and Qwen: a default system message, one block a turn.
CHATML = """\
{% for message in messages %}
{% if loop.first and message['role'] != 'system' %}
<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{%- endif %}
"""

# As Llama 3: bos first, header tokens around the role, contents trimmed.
LLAMA = """\
{{- bos_token }}
{%- if not date is defined %}{% set date = strftime_now('%Y') %}{% endif %}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# As Gemma: the system message goes into the user's first, and turns must alternate.
GEMMA = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first = messages[0]['content'] + '\\n\\n' -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set first = '' -%}
    {%- set turns = messages -%}
{%- endif -%}
{%- for message in turns -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception('Conversation roles must alternate user/assistant/user/assistant') }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (first if loop.first else '') }}
    {{- message['content'] | trim }}{{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\\n' }}
{%- endif -%}
"""

TEMPLATES = {"chatml": CHATML, "llama": LLAMA, "gemma": GEMMA}
SPECIALS = {
    "chatml": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "gemma": ["<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"],
}
ROLES = {
    "chatml": {"eos": "<|im_end|>"},
    "llama": {"eos": "<|eot_id|>", "bos": "<|begin_of_text|>"},
    "gemma": {"eos": "<end_of_turn>"},
}


def byte_level(name="chatml", added=()) -> Tokenizer:
    """256 bytes with a few merges, after the control tokens; `added` are tokens not special."""
    tokens = [*SPECIALS[name], *byte_characters()]
    merges = [("i", "m"), ("im", "_"), ("t", "h"), ("th", "e"), ("Ċ", "Ċ"), ("<", "|")]
    tokens += [a + b for a, b in merges]
    backend = tokenizers.Tokenizer(
        models.BPE(vocab={token: id for id, token in enumerate(tokens)}, merges=merges)
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(SPECIALS[name])
    backend.add_tokens(list(added))
    return Tokenizer(backend, ROLES[name])


def sentencepiece(name="gemma", scheme="first") -> Tokenizer:
    """Characters behind a Metaspace, as Llama 2 and T5 have it."""
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<>|_[]().,!?'\n"
    pieces = [(token, 0.0) for token in SPECIALS[name]] + [(c, -5.0) for c in letters]
    pieces += [("▁the", -3.0), ("▁a", -3.0), ("</s>", -1.0), ("<unk>", -9.0)]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=len(pieces) - 1))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    backend.add_special_tokens(SPECIALS[name])
    return Tokenizer(backend, ROLES[name])


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def system(content):
    return {"role": "system", "content": content}


def add_template(bundle, source):
    """Puts a chat template into a bundle, as the export does."""
    (bundle / "chat_template.jinja").write_text(source, "utf-8")
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    manifest["tokenizer"]["chat_template"] = "chat_template.jinja"
    write_manifest(bundle, manifest)
    return bundle
