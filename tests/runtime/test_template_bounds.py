"""A chat template uses up little, whatever it does: time, memory and the length of its answer."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import pytest

from modelzoo.errors import ModelzooError
from modelzoo.runtime.text.chat_template import ChatTemplate
from tests.plugin_site import ROOT

SECONDS, MEGABYTES = 2.0, 100  # alone on a core all of them end within one second
HUGE = "99999999999"


def often(body: str, times: int = 99_999) -> str:
    return f"{{% for i in range({times}) %}}{body}{{% endfor %}}"


def growing(value: str, then: str = "", start: str = "'abc'", times: int = 64) -> str:
    """`value` is made of n.s again and again."""
    body = often(f"{{% set n.s = {value} %}}", times)
    return f"{{% set n = namespace(s={start}) %}}{body}{then}"


NESTED = growing("[n.s, n.s]", start="['x']", times=19)  # 2^20 texts, in 20 lists
BIG = "{% set s = 'a' * 9000000 %}"
BOMBS = {
    # Calls and loops.
    "macros that call themselves twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}"
    "{% endif %}{% endmacro %}{{ f(60) }}",
    "a block that shows itself twice": "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    "a call block in a macro": "{% macro f(n) %}{{ caller() }}{% if n %}{% call f(n - 1) %}{{ n }}"
    "{% endcall %}{% call f(n - 1) %}x{% endcall %}{% endif %}{% endmacro %}"
    "{% call f(60) %}x{% endcall %}",
    "loops in loops": often(often(often(""))),
    "loops that a test empties": often(often("x").replace("%}", "if i > 999999 %}", 1)),
    "a recursive loop": "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "a long body": often("{% if false %}" + "{{ i }}" * 3000 + "{% endif %}"),
    "a long text": often("x" * 100_000),
    "a macro with a long text": "{% macro f() %}" + "x" * 90_000 + "{% endmacro %}"
    "{% set n = namespace(s='') %}" + often("{% set n.s = f() %}"),
    "filters in a loop": often(often("{{ i | string | upper }}")),
    "select of a range": often("{% set x = range(99999) | select('undefined') | list %}"),
    "generators of generators": often(
        "{% set x = range(99999) " + "| map('abs') " * 99 + "| list %}"
    ),
    "the length of a generator": often("{{ range(99999) | select | list | length }}"),
    "sum of a range": often("{{ range(99999) | sum }}"),
    "min of a range": often("{{ range(99999) | min }}"),
    "join of a range": often("{% set x = range(99999) | join(',') %}"),
    "sort of a range": often("{% set x = range(99999) | sort(reverse=true) %}"),
    "in a range": often("{% if 'x' in range(99999) | list %}{% endif %}"),
    "copies": "{% set l = range(99999) | list %}" + often("{% set x = l[:] %}"),
    "slices": BIG + often("{% set x = s[1:] %}"),
    # Text.
    "+": growing("n.s + n.s"),
    "~": growing("n.s ~ n.s"),
    "~ of many": growing("n.s" + " ~ n.s" * 99),
    "*": f"{{{{ 'a' * {HUGE} }}}}",
    "* on the other side": f"{{{{ {HUGE} * ['a'] }}}}",
    "%": f"{{{{ '%{HUGE}d' % 1 }}}}",
    "% with a star": f"{{{{ '%*d' % ({HUGE}, 1) }}}}",
    "% with a precision": f"{{{{ '%.{HUGE}f' % 1 }}}}",
    "% that repeats": growing("'%s%s' % (n.s, n.s)"),
    "% with names": growing("'%(a)s%(a)s%(a)s' % {'a': n.s}"),
    "format": f"{{{{ '%{HUGE}s' | format('a') }}}}",
    "format that repeats": growing("'%s%s' | format(n.s, n.s)"),
    "str.format": f"{{{{ '{{:{HUGE}}}'.format('a') }}}}",
    "str.format with a field in it": f"{{{{ '{{:{{}}}}'.format('a', {HUGE}) }}}}",
    "str.format that repeats": growing("'{0}{0}'.format(n.s)"),
    "str.format_map": growing("'{a}{a}'.format_map({'a': n.s})"),
    "join that repeats": growing("[n.s, n.s] | join(n.s)"),
    "join of letters": BIG + "{{ s | join('abcdefghi') }}",
    "str.join": growing("n.s.join([n.s, n.s, n.s])"),
    "str.join of letters": BIG + "{{ 'abcdefghi'.join(s) }}",
    "replace": growing("n.s | replace('a', n.s)"),
    "replace of nothing": growing("n.s | replace('', n.s)"),
    "str.replace": growing("n.s.replace('a', n.s ~ 'aa')"),
    "center": f"{{{{ 'a' | center({HUGE}) }}}}",
    "center by name": f"{{{{ 'a' | center(width={HUGE}) }}}}",
    **{
        f"str.{name}": f"{{{{ 'a'.{name}({HUGE}) }}}}"
        for name in ("center", "ljust", "rjust", "zfill")
    },
    "bytes.ljust": f"{{{{ 'a'.encode().ljust({HUGE}) }}}}",
    "expandtabs": f"{{{{ '\\t'.expandtabs({HUGE}) }}}}",
    "expandtabs of many": "{{ ('\\t' * 9999).expandtabs(99999) }}",
    "indent": f"{{{{ 'a\\nb' | indent({HUGE}) }}}}",
    "indent with a text": "{{ ('a\\n' * 9999) | indent('x' * 99999) }}",
    "tojson": f"{{{{ [1] | tojson(indent={HUGE}) }}}}",
    "tojson with a text": "{{ range(9999) | list | tojson(indent='x' * 99999) }}",
    "tojson with marks": "{{ range(9999) | list | tojson(separators=('x' * 99999, ':')) }}",
    "translate": "{{ ('a' * 99999).translate({97: 'x' * 99999}) }}",
    "wordwrap": "{{ ('a' * 4000000) | wordwrap(1) }}",
    "wordwrap with a text": "{{ ('a ' * 9999) | wordwrap(1, wrapstring='x' * 99999) }}",
    "urlize": "{{ ('www.a' * 2000000) | urlize }}",
    "striptags": "{{ ('<!--' * 2000000) | striptags }}",
    "escape": "{{ ('<' * 9000000) | e }}",
    "urlencode": "{{ ('é' * 4000000) | urlencode }}",
    "split": "{{ ('a ' * 9000000).split() | length }}",
    "split at a letter": "{{ ('a,' * 9000000).split(',') | length }}",
    "splitlines": "{{ ('\\n' * 9000000).splitlines() | length }}",
    "list of letters": BIG + "{{ s | list | length }}",
    "truncate": growing("(n.s ~ n.s) | truncate(99999999)"),
    "a set block": growing("n.s").replace(
        "{% set n.s = n.s %}", "{% set n.s %}{{ n.s }}{{ n.s }}{% endset %}"
    ),
    "a filter block": BIG + often("{% filter upper %}{{ s }}{% endfilter %}"),
    "upper": BIG + often("{% set x = s.upper() %}"),
    "escaped output": "{% autoescape true %}" + growing("n.s ~ n.s") + "{% endautoescape %}",
    "output": often("{{ 'a' * 9999 }}"),
    "the time": f"{{{{ strftime_now('%{HUGE}Y') }}}}",
    "a refusal": NESTED + "{{ raise_exception(n.s ~ n.s ~ n.s) }}",
    # Lists.
    "lists of lists, printed": growing("[n.s, n.s]", "{{ n.s }}"),
    "lists of lists, as JSON": growing("[n.s, n.s]", "{{ n.s | tojson }}"),
    "lists of lists, in a dict": growing("{'a': n.s, 'b': n.s}", "{{ n.s | string }}"),
    "lists of lists, compared": growing("(n.s, n.s)") + "{{ n.s == n.s }}",
    "lists of lists, by +": growing("[n.s] + [n.s]", "{{ n.s | join }}"),
    "lists of lists, by filters": growing("[n.s, n.s] | batch(2) | list", "{{ n.s | pprint }}"),
    "lists of lists, by dict": growing("dict(a=n.s, b=n.s)", "{{ n.s | length }}{{ n.s }}"),
    "a comparison, often": NESTED + "{% set m = n.s[:] %}" + often("{% set x = m == n.s %}"),
    "a key, often": growing("(n.s, n.s)", start="('x',)", times=19)
    + often("{% set x = {n.s: 1} %}"),
    "a print, often": NESTED + often("{% set x = n.s ~ '' %}"),
    "unique of lists, often": NESTED + often("{% set x = n.s | map('string') | unique | list %}"),
    "a list, twice as long": growing("n.s + n.s", start="[1]"),
    "sums of lists": "{{ [range(9999) | list] * 9999 | sum(start=[]) | length }}",
    "batch": f"{{{{ [1] | batch({HUGE}, 0) | list }}}}",
    "slice": f"{{{{ [1] | slice({HUGE}) | list }}}}",
    "fromkeys": often("{% set x = {}.fromkeys(range(99999)) %}"),
    "small lists": "{% set n = namespace(s=[]) %}" + often("{% set n.s = [[i], n.s] %}"),
    # Numbers.
    "**": f"{{{{ 9 ** {HUGE} }}}}",
    "** again": growing("n.s ** 64", start="9"),
    "* of numbers": growing("n.s * n.s", start="9", times=999),
    "a long number": "{{ ('f' * 9000000) | int(base=16) }}",
    "a wide number": f"{{{{ (1).to_bytes({HUGE}, 'big') }}}}",
    "round": f"{{{{ 1.5 | round({HUGE}, 'floor') }}}}",
    "a shift by //": growing("n.s * 3 // 2", start="9", times=99999),
}


def one(name: str) -> dict:
    """How a bomb ends: the error and the seconds of this thread."""
    start = time.thread_time()
    try:
        ended = f"{len(ChatTemplate(BOMBS[name]).render('Hi')):,} characters"
    except ModelzooError as error:
        ended = f"{type(error).__name__}: {error.what}"
    return {"name": name, "ended": ended, "seconds": time.thread_time() - start}


if __name__ == "__main__":
    ChatTemplate("{{ [messages] | tojson }}").render("Hi")  # imports
    for name in BOMBS:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = one(name)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({**found, "megabytes": (after - before) / 1024}), flush=True)


@pytest.fixture(scope="module")
def ends() -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.test_template_bounds"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return {found["name"]: found for found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_an_error(ends, name):
    found = ends[name]
    assert found["ended"].startswith("WeightsError: the chat template"), found
    assert found["seconds"] < SECONDS, found


def test_bombs_take_little_memory(ends):
    assert len(ends) >= 60
    # The largest that the process has been, so all of them together.
    assert sum(found["megabytes"] for found in ends.values()) < MEGABYTES


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("{{ 'ab'.center(6) }}|{{ 'a\\tb'.expandtabs(4) }}", "  ab  |a   b"),
        ("{{ '%5.1f|%-4s|%%' % (2.25, 'a') }}", "  2.2|a   |%"),
        ("{{ '{:>4}{x!r}'.format(1, x='a') }}{{ '{a}'.format_map({'a': 2}) }}", "   1'a'2"),
        ("{{ [1, [2, 'a']] ~ '' ~ {'a': (1,)} }}", "[1, [2, 'a']]{'a': (1,)}"),
        ("{{ [3, 1, 2] | sort | join('-') }}{{ [[1], [2]] | sum(start=[]) }}", "1-2-3[1, 2]"),
        ("{{ [{'a': 1}, {'a': 2}] | sum(attribute='a') }}", "3"),
        ("{{ range(5) | select('odd') | map('string') | join }}", "13"),
        ("{{ 'abcdef'[1:4] }}{{ [1, 2, 3][::-1] }}{{ messages[-1:] | length }}", "bcd[3, 2, 1]1"),
        ("{{ 1 < 2 < 3 }}{{ [1] == [1] }}{{ 'a' in {'a': 1} }}", "TrueTrueTrue"),
        ("{% for x in [1, 2, 3] if x != 2 %}{{ loop.index }}{{ x }}{% endfor %}", "1123"),
        (
            "{% macro f(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call f(1) %}b{% endcall %}",
            "<1b>",
        ),
        ("{% autoescape true %}{{ '<' ~ '<b>' | safe }}{% endautoescape %}", "&lt;<b>"),
        ("{{ (7 // 2, 7 % 4, -7, 2 ** 10, 1.5 * 2) }}", "(3, 3, -7, 1024, 3.0)"),
        ("{{ 'a,b'.split(',') | tojson(indent=1) }}", '[\n "a",\n "b"\n]'),
        ("{{ namespace(a=1) }}", "<Namespace>"),
        ("{{ messages | map(attribute='role') | unique | list }}", "['user']"),
        ("{{ [1, 2, 3] | batch(2, 0) | list }}{{ 'a\\nb' | indent(2) }}", "[[1, 2], [3, 0]]a\n  b"),
    ],
)
def test_what_a_template_may_do_it_does_as_ever(source, written):
    assert ChatTemplate(source).render("Hi") == written


def test_a_long_conversation_has_room():
    source = (
        "{% set n = namespace(all=[], text='') %}{% for m in messages %}"
        "{% set n.all = n.all + [m] %}{% set n.text = n.text ~ m.content %}"
        "{{ m | tojson }}{{ m.content | trim | upper }}{{ m.content.split(' ') | join(' ') }}"
        "{% endfor %}{{ n.all | length }}"
    )
    talk = [{"role": "user", "content": "some words " * 20}] * 400
    assert ChatTemplate(source).render(talk).endswith("400")
    page = [{"role": "user", "content": "a word " * 300_000}]  # 2 MB
    assert len(ChatTemplate(source).render(page)) > 6_000_000


# Its parts are those of published templates that write functions as TypeScript: a macro that calls
# itself, a search from the end, tables walked in order, texts taken apart.
_TOOLS = """\
{%- macro type(s, depth) -%}
{%- if s.enum is defined -%}{%- for e in s.enum -%}{{ e | tojson }}{{ " | " if not loop.last }}
{%- endfor -%}
{%- elif s.type == "array" -%}{{ type(s["items"], depth + 1) }}[]
{%- elif s.type == "object" -%}{ {%- for k, v in s.properties.items() %}
{{ "  " * depth }}// {{ v.description | default("nothing is said") | trim | replace("\\n", " ") }}
{{ "  " * depth }}{{ k }}{{ "" if k in s.required else "?" }}: {{ type(v, depth + 1) }},
{%- endfor %}
{{ "  " * (depth - 1) }}}{%- else -%}{{ s.type | string | lower }}{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(last=-1, open=false) -%}
{%- for m in messages[::-1] -%}
{%- if ns.last < 0 and m.role == "user" -%}{%- set ns.last = messages | length - loop.index0 -%}
{%- endif -%}{%- endfor -%}
{%- for t in tools %}
type {{ t.name }} = (_: {{ type(t.parameters, 1) }}) => any;
{%- endfor %}
"""
_TURNS = """\
{%- for m in messages -%}
{%- set parts = m.content.split("</think>") -%}
{%- if m.role == "RULE" or (parts | length > 1 and loop.index0 < ns.last) %}
<|RULE|>{{ parts[-1].lstrip("\\n") ~ " " ~ (loop.index | string) }}<|end|>
{%- elif m.role == "RULE-tool" %}{{ m.content | tojson }}{%- endif -%}
{%- endfor -%}
"""


def test_a_template_of_10_kb_with_40_tools_and_200_turns_renders():
    source = _TOOLS + "".join(
        _TURNS.replace("RULE", role)
        for role in ("user", "assistant", *(f"role-{number}" for number in range(30)))
    )
    assert len(source) > 10_000
    deep = {"type": "object", "required": ["b"], "properties": {"b": {"enum": ["x", "y"]}}}
    for _ in range(6):
        deep = {"type": "object", "required": ["a"], "properties": {"a": deep, "n": deep}}
    tools = [{"name": f"tool_{n}", "parameters": deep} for n in range(40)]
    talk = [
        {"role": ("user", "assistant")[n % 2], "content": f"<think>{n}</think>\nanswer {n}"}
        for n in range(200)
    ]
    text = ChatTemplate(source).render(talk, tools=tools)
    assert text.count(") => any;") == 40 and text.count('b: "x" | "y",') == 40 * 2**6
    assert "<|user|>answer 0 1<|end|>" in text and "<|assistant|>answer 199 200<|end|>" in text
