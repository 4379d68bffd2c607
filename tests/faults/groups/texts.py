"""tokenizer.json and chat_template.jinja."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from modelzoo.runtime.text.chat_template import FILE, ChatTemplate, read_source
from modelzoo.runtime.text.tokenizer import Tokenizer
from tests.faults import mutations
from tests.faults.group import Group
from tests.faults.groups import good
from tests.runtime.chats import TEMPLATES

_TEXT = "The rose is [MASK] a rose. 你好, <s> wörld 😀\n\n 12345 </s>"


def _tokenizers() -> list[dict]:
    from tests.runtime.chats import byte_level

    kept = [good.files(name)["tokenizer.json"] for name in ("gpt", "bert", "t5")]
    return [json.loads(text) for text in (*kept, byte_level().to_str())]


def _make_tokenizer(random: Random, folder: Path) -> Path:
    content = random.choice(_tokenizers())
    if random.random() < 0.5:  # in one of its parts, and not in one word of the vocabulary
        part = random.choice([key for key in content if isinstance(content[key], dict)])
        words = {"vocab", "merges"} & set(content[part])
        kept = {key: content[part][key] for key in words}
        damaged = mutations.damaged_value(
            random, {key: value for key, value in content[part].items() if key not in words}
        )
        content[part] = (
            random.choice(([], "x", None, 7)) if mutations.chance(random, 0.05) else damaged | kept
        )
        text = json.dumps(content).encode()
    else:
        text = mutations.damaged_json(random, content)
    return good.write(folder, {"tokenizer.json": text})


def _use_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    ids = tokenizer.encode(_TEXT)
    tokenizer.decode(ids)
    tokenizer.encode_batch([_TEXT, ""])
    tokenizer.tokens(_TEXT)
    stream = tokenizer.stream()
    "".join([stream.push(token) for token in ids])
    stream.flush()
    if {"cls", "sep", "mask"} <= set(tokenizer.roles):
        tokenizer.encode_pair(_TEXT, "x", 64, truncate=True, allow=("mask",))


_GROWING = (
    "{%% set ns = namespace(x=%s) %%}{%% for i in range(%d) %%}{%% set ns.x = %s %%}{%% endfor %%}"
)
# What a template may use up. N stands for the size that a seed chooses.
_BOMBS = (
    "{% for a in range(N) %}{% for b in range(N) %}x{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% set x = 'a' * N %}{{ x ~ x ~ x ~ x }}",
    _GROWING % ("'ab'", 40, "ns.x ~ ns.x"),
    _GROWING % ("[1]", 40, "ns.x + ns.x"),
    _GROWING % ("7", 60, "ns.x * ns.x"),
    _GROWING % ("7", 9, "ns.x ** 64"),
    "{{ 'a'.ljust(N) }}",
    "{{ 'a'.center(N * 100) }}",
    "{{ '7'.zfill(N * 100) }}",
    "{{ ('\\t' * 10000).expandtabs(N) }}",
    "{{ '%Nd' % 1 }}",
    "{{ '%0*d' % (N, 1) }}",
    "{{ '{:>N}'.format('x') }}",
    "{{ '{0:N}{0:N}{0:N}{0:N}'.format(1) }}",
    "{{ 'aaaa' | replace('a', 'b' * 100000) | replace('b', 'c' * 1000) | length }}",
    "{{ ['a' * 1000000] * 20 | join('b' * 1000000) | length }}",
    "{{ (['a'] * 100000) | join('b' * 100000) | length }}",
    "{{ 'a\\n' * 100000 | indent(N) }}",
    "{{ ('a\\n' * 100000) | indent(N) | length }}",
    "{{ [[[[1]]]] | tojson(indent=N) | length }}",
    "{{ ([1] * 100000) | tojson(indent=N // 1000) | length }}",
    "{{ range(N) | list | length }}",
    "{{ (range(N) | list + range(N) | list) | sort | length }}",
    "{{ 'x' | center(N) }}",
    "{{ ('a ' * 1000000) | wordwrap(1, wrapstring='b' * 1000) | length }}",
    "{{ range(N) | batch(1) | list | length }}",
    "{{ range(N) | slice(N) | list | length }}",
    "{{ (range(N) | map('string') | list) | length }}",
    "{{ range(N) | sum }}",
    "{{ 'a' | string * N }}",
    "{{ messages * N }}",
    "{{ ('a' * 1000000 + '!') | urlize | length }}",
    "{{ ('<' * 1000000) | striptags | length }}",
    "{{ ('(' * 30000 + ')') | title | length }}",
    "{{ ('a' * 1000000) | xmlattr }}",
    "{% for a in range(N) if a < 0 %}x{% endfor %}",
    "{% filter upper %}{% for a in range(N) %}aaaaaaaaaaaaaaaaaaaa{% endfor %}{% endfilter %}",
    "{% for m in messages recursive %}{{ loop([m, m]) }}{% endfor %}",
    "{{ strftime_now('%Y' * N) | length }}",
    "{{ dict(a=1).update({}) }}{{ [1, 2].append(3) }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ 2 ** 64 ** 3 }}",
    "{{ -2 ** -N }}",
    "{{ 1 << N }}",
    "{{ 'a' in 'b' * N }}",
    "{{ (1,) * N == (1,) * N }}",
    "{% set x %}{% for i in range(N) %}0123456789{% endfor %}{% endset %}{{ x ~ x ~ x }}",
    "{{ 9" + "9" * 5000 + " }}",
    "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
    "{{ " + "-" * 5000 + "1 }}",
    "{% if 1 %}" * 300 + "{% endif %}" * 300,
    "{{ messages" + "[0]" * 2000 + " }}",
    "{{ 1" + " + 1" * 20000 + " }}",
)
# What would reach Python or the disk.
_ESCAPES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.mkdir('MARK') }}",
    "{{ joiner.__init__.__globals__['os'].mkdir('MARK') }}",
    "{{ namespace.__init__.__globals__.os }}",
    "{{ raise_exception.__globals__['datetime'] }}",
    "{{ strftime_now.__globals__ }}",
    "{{ self._TemplateReference__context.environment }}",
    "{{ self.__init__.__globals__ }}",
    "{{ '{0.__class__}'.format(messages) }}",
    "{{ '{a.__class__.__init__.__globals__}'.format_map({'a': joiner}) }}",
    "{{ messages | attr('__class__') }}",
    "{{ [''] | map(attribute='__class__') | list }}",
    "{{ ''['__class__'] }}",
    "{{ ('%s' | attr('format'))('__class__') }}",
    "{% include '/etc/passwd' %}",
    "{% extends '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os }}",
    "{% from 'os' import mkdir %}{{ mkdir('MARK') }}",
    "{{ lipsum.__globals__ }}",
    "{{ config }}{{ request }}{{ environment }}",
    "{{ loop }}{{ varargs }}{{ kwargs }}{{ caller }}",
    "{% do messages.clear() %}",
    "{% set messages[0]['role'] = 'x' %}",
    "{{ messages.pop() }}{{ messages.append(1) }}{{ messages[0].update(a=1) }}",
    "{{ (messages | map('attr', '__class__') | list)[0].mro() }}",
    "{{ dict.mro() }}{{ dict.__subclasses__() }}",
    "{{ range.__class__ }}{{ range(3).__reduce__() }}",
    "{{ raise_exception('\\x1b[2J') }}",
    "{{ raise_exception('x' * 100000) }}",
    "{{ raise_exception(messages) }}",
    "{{ strftime_now('\\ud800') }}",
    "{{ '\\ud800' }}",
    "{{ nothing.at.all }}",
    "{{ 1 / 0 }}",
    "{{ messages[7].role }}",
    "{{ messages[0]() }}",
    "{{ ''.join(messages) }}",
    "{{ 'a' + 1 }}",
    "{{ [] | first }}{{ [] | max }}{{ x | int + y }}",
    "{{ strftime_now(7) }}",
    "{{ {}[[]] }}",
    "{{ 'a' | tojson(indent='x', separators=7) }}",
    "{% for m in 7 %}{% endfor %}",
    "{% break %}{% continue %}",
    "{% generation %}{% generation %}{% endgeneration %}{% endgeneration %}",
)
_MESSAGES = (
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "S"}, {"role": "user", "content": "a{{ b }}"}],
    [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ],
)


def _make_template(random: Random, folder: Path) -> tuple[Path, list]:
    kind = random.randrange(10)
    size = random.choice((10**4, 10**6, 10**7, 10**9))
    whole = random.choice(list(TEMPLATES.values()))
    if kind < 4:
        text = random.choice(_BOMBS).replace("N", str(size))
    elif kind < 6:
        text = random.choice(_ESCAPES).replace("MARK", str(folder / mutations.MARK))
    elif kind == 6:
        bomb = random.choice((*_BOMBS, *_ESCAPES)).replace("N", str(size))
        text = random.choice(
            (whole + bomb, bomb + whole, f"{{% if messages %}}{bomb}{{% endif %}}")
        )
    else:
        text = whole
    content = text.encode()
    if kind > 6:
        content = mutations.damaged_bytes(random, content, head=len(content))
    path = good.write(folder, {FILE: content}) / FILE
    return path, random.choice(_MESSAGES)


def _use_template(made: tuple[Path, list]) -> None:
    path, messages = made
    before = json.dumps(messages)
    template = ChatTemplate(read_source(path), {"bos_token": "<s>", "eos_token": "</s>"}, path)
    text = template.render(messages)
    text.encode("utf-8", "surrogatepass")
    assert json.dumps(messages) == before, "the template changed the messages"
    leaked = ("<class '", "<function", "<module", "root:x:")
    assert not any(word in text for word in leaked), "the template shows Python's insides"


GROUPS = (
    Group("tokenizer", "tokenizer.json", _make_tokenizer, _use_tokenizer, 800, 30, _tokenizers),
    Group("template", "chat_template.jinja", _make_template, _use_template, 500, 20, batch=25),
)
