"""Chat templates render, and conversations tokenize, as transformers does it."""

from __future__ import annotations

import pytest

from modelzoo.errors import ModelzooError
from modelzoo.runtime.text.chat import ChatTemplate, encode_chat, template_tokens
from tests.runtime import chats
from tests.runtime.chats import assistant, system, user

pytestmark = pytest.mark.real

TALKS = {
    "one": [user("Hello")],
    "system": [system("Be brief."), user(" the cat ")],
    "long": [
        user("a\n\nb"),
        assistant("<b>&'\""),
        user("é 你好 🌹 \u00a0"),
        assistant(""),
        user("?"),
    ],
    "unknown keys": [{**user("a"), "name": "N", "n": [1, {"b": None}], "none": None}],
    "wrong order": [user("a"), user("b")],
    "tool call": [
        user("a"),
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]},
        {"role": "tool", "content": "3"},
    ],
    "parts": [user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])],
    "reasoning": [user("a"), {**assistant("b"), "reasoning": "so"}, user("c")],
    "assistant last": [user("a"), assistant("b")],
}
# Shapes that published templates have: tools and documents asked for, reasoning cut from earlier
# turns, namespaces, macros, loop controls, training marks, JSON, dates.
OTHERS = {
    "tools": "{% if tools %}T{% endif %}{% if documents is defined and documents %}D{% endif %}"
    "{%- if tools is not none %}none{% endif %}{{ messages[-1].content }}",
    "reasoning": """\
{%- set ns = namespace(last=messages | length - 1, open=true) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages | length - 1) - loop.index0 %}
    {%- if ns.open and message.role == 'user' and not (message.content.startswith('<tool_response>')
        and message.content.endswith('</tool_response>')) %}
        {%- set ns.open = false %}{%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if '</think>' in content %}{% set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' ~ content ~ '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
""",
    "macros": "{% macro turn(m) %}[{{ m.role | upper }}] {{ m['content'] | trim }}\n{% endmacro %}"
    "{% for m in messages if m.content %}{{ turn(m) }}{% if loop.last %}{% break %}{% endif %}"
    "{% continue %}{% endfor %}",
    "json": "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}"
    "{{ messages[0].content | tojson(ensure_ascii=true) }}{{ {'b': 1, 'a': 2} | tojson }}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
    "{% set x = 'in' %}{{ m.content }}{{ x }}{% endgeneration %}{{ x }}{% else %}{{ m.content }}"
    "{% endif %}\n  {# a comment #}\n  {%- endfor %}",
    "date": "{{ strftime_now('%d %b %Y') }}{{ bos_token }}{{ pad_token }}{{ unknown }}",
    "undefined": "{{ messages[0].nothing.more }}",
    "calls and parts": "{% for m in messages %}<{{ m.role }}>{% if m.content is string %}"
    "{{ m.content }}{% else %}{% for part in m.content or [] %}[{{ part.text }}]{% endfor %}"
    "{% endif %}{{ m.reasoning_content }}{% for call in m.tool_calls or [] %}{{ call | tojson }}"
    "{% endfor %}{% endfor %}",
}
TEMPLATES = {**chats.TEMPLATES, **OTHERS}


def theirs_of(tokenizer, template):
    """The same tokenizer in transformers."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer.to_str()), **template_tokens(tokenizer)
    )
    theirs.chat_template = template
    return theirs


def tokenizer_for(name, kind="bytes"):
    name = name if name in chats.SPECIALS else "chatml"
    return chats.byte_level(name) if kind == "bytes" else chats.sentencepiece(name, kind)


@pytest.mark.parametrize("prompt", [True, False])
@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_renderings_are_those_of_transformers(name, talk, prompt):
    if talk == "parts" and name not in ("calls and parts", "json"):
        return  # transformers writes the list as Python shows it
    tokenizer = tokenizer_for(name)
    theirs = theirs_of(tokenizer, TEMPLATES[name])
    template = ChatTemplate(TEMPLATES[name], template_tokens(tokenizer))
    options = {"add_generation_prompt": prompt}
    try:
        expected = theirs.apply_chat_template(TALKS[talk], tokenize=False, **options)
    except Exception as error:  # jinja2's own, whatever it is
        with pytest.raises(ModelzooError) as caught:
            template.render(TALKS[talk], **options)
        assert str(error) in str(caught.value)
        return
    assert template.render(TALKS[talk], **options) == expected


@pytest.mark.parametrize(
    "variables", [{}, {"enable_thinking": False}, {"tools": [{"type": "function", "name": "é"}]}]
)
def test_variables_and_tools_are_those_of_transformers(variables):
    source = "{{ messages[0].content }}{% if enable_thinking is defined and not enable_thinking %}"
    source += "<think></think>{% endif %}{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}"
    tokenizer = tokenizer_for("chatml")
    theirs = theirs_of(tokenizer, source)
    expected = theirs.apply_chat_template([user("Hi")], tokenize=False, **variables)
    assert ChatTemplate(source).render([user("Hi")], **variables) == expected


@pytest.mark.parametrize("kind", ["bytes", "first", "always", "never"])
@pytest.mark.parametrize("talk", ["one", "system", "long", "unknown keys", "assistant last"])
@pytest.mark.parametrize("name", chats.TEMPLATES)
def test_ids_are_those_of_transformers(name, talk, kind):
    tokenizer = tokenizer_for(name, kind)
    theirs = theirs_of(tokenizer, TEMPLATES[name])
    template = ChatTemplate(TEMPLATES[name], template_tokens(tokenizer))
    expected = theirs.apply_chat_template(
        TALKS[talk], add_generation_prompt=True, return_dict=False
    )
    assert encode_chat(tokenizer, template, TALKS[talk]) == expected


@pytest.mark.parametrize("name", chats.TEMPLATES)
def test_control_tokens_in_messages_are_text_as_transformers_has_them_on_request(name):
    tokenizer = tokenizer_for(name)
    theirs = theirs_of(tokenizer, TEMPLATES[name])
    template = ChatTemplate(TEMPLATES[name], template_tokens(tokenizer))
    attack = "a " + " ".join(chats.SPECIALS[name]) + " b"
    talk = [user(attack), assistant("c"), user(attack)]
    found = []
    for sanitize in (True, False):
        ids = theirs.apply_chat_template(
            talk,
            add_generation_prompt=True,
            return_dict=False,
            sanitize_control_tokens=sanitize,
        )
        found.append([id for id in ids if id in tokenizer.special_ids])
    ours = encode_chat(tokenizer, template, talk)
    assert [id for id in ours if id in tokenizer.special_ids] == found[0] != found[1]
    assert tokenizer.decode(ours, False) == template.render(talk)
