"""What docstrings are written in, as Markdown and as plain text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servey.docstring.documentation import Documentation
from servey.docstring.markup import markdown, plain

REST = [
    ("Needs ``root``.", "Needs `root`.", "Needs root."),
    ("It is ``a`` or ``b c``", "It is `a` or `b c`", "It is a or b c"),
    (":func:`~os.path.join`, :py:class:`Box`\\ es", "`join`, `Box`es", "join, Boxes"),
    (":meth:`!run`, :class:`the box <a.Box>`", "`run`, `the box`", "run, the box"),
    (":ref:`the rules <rules>`, :term:`depot`", "the rules, depot", "the rules, depot"),
    ("As in :pep:`8` and :rfc:`9110`.", "As in PEP 8 and RFC 9110.", "As in PEP 8 and RFC 9110."),
    ("`The RFC <https://x.org/r>`_.", "[The RFC](https://x.org/r).", "The RFC (https://x.org/r)."),
    ("Do::\n\n    a ``b``\n\nEnd", "Do:\n\n```\na ``b``\n```\n\nEnd", "Do:\n\n    a ``b``\n\nEnd"),
    ("Do ::\n\n    a\n", "Do\n\n```\na\n```", "Do\n\n    a"),
    ("::\n\n    a\n\n      b", "```\na\n\n  b\n```", "    a\n\n      b"),
    ("- Do::\n\n      a\n\n- End", "- Do:\n\n  ```\n  a\n  ```\n\n- End", "- Do:\n\n      a\n\n- End"),
    (
        "As in\n\n>>> f(1)\n2\n\nEnd",
        "As in\n\n```pycon\n>>> f(1)\n2\n```\n\nEnd",
        "As in\n\n    >>> f(1)\n    2\n\nEnd",
    ),
    (".. code-block:: python\n   :linenos:\n\n   f()\n", "```python\nf()\n```", "    f()"),
    (".. note:: Not ``a``,\n   but b.\n", "**Note:** Not `a`,\nbut b.", "Note: Not a,\nbut b."),
    (".. seealso::\n\n   The rest.", "**See also:** The rest.", "See also: The rest."),
    (".. deprecated:: 1.2\n   Use ``b``.", "**Deprecated since 1.2.** Use `b`.", "Deprecated since 1.2. Use b."),
    (".. unknown:: a\n   b", ".. unknown:: a\n   b", ".. unknown:: a\n   b"),
]

MARKDOWN = [
    ("Needs `root`, *always*, **really**, ***so***.", "Needs root, always, really, so."),
    ("Both: ``a`b``", "Both: a`b"),
    ("**a *b* c**", "a b c"),
    ("See [this](https://x.org 'x') and <https://y.org>.", "See this (https://x.org) and https://y.org."),
    ("![a map](map.png)", "a map"),
    ("# Title\n\nText\n\n- one\n- `two`", "Title\n\nText\n\n- one\n- two"),
    ("a\n\n```python\nx = `1` * 2 * 3\n```\n\nb", "a\n\n    x = `1` * 2 * 3\n\nb"),
    ("2 * 3 * 4, __init__, a*b*c, *args, **kwargs", "2 * 3 * 4, __init__, a*b*c, *args, **kwargs"),
    (r"\*args and \_x", "*args and _x"),
    ("| a | b |\n|---|---|\n| 1 | 2 |", "| a | b |\n|---|---|\n| 1 | 2 |"),
    ("left `open, and ``this", "left `open, and ``this"),
]


@pytest.mark.parametrize(("text", "as_markdown", "as_plain"), REST)
def test_what_restructuredtext_alone_has_is_translated(text, as_markdown, as_plain):
    assert markdown(text) == as_markdown
    assert plain(markdown(text)) == as_plain


@pytest.mark.parametrize(("text", "as_plain"), MARKDOWN)
def test_markdown_stays_as_it_is(text, as_plain):
    assert markdown(text) == text
    assert plain(text) == as_plain


@given(st.lists(st.sampled_from([*REST, *((text, text, told) for text, told in MARKDOWN)]), min_size=1, max_size=5))
def test_parts_of_a_text_are_translated_alone_and_once(parts):
    whole = "\n\n".join(text.strip("\n") for text, _, _ in parts)
    once = markdown(whole)
    assert once == "\n\n".join(as_markdown for _, as_markdown, _ in parts)
    assert markdown(once) == once
    assert plain(once) == "\n\n".join(as_plain for _, _, as_plain in parts)


PIECES = [
    "`",
    "``",
    "```",
    "~~~",
    "::",
    ">>> ",
    ".. note::",
    ":a:",
    " ",
    "\n",
    "    ",
    "*",
    "a",
    "<b>`_",
    "- ",
    "[a](b)",
]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_no_text_is_refused(text):
    assert "\n\n\n" not in plain(markdown(text))


def test_a_role_that_begins_a_line_is_no_field():
    documentation = Documentation.of(
        """:func:`Find` one.

        :class:`Box`\\ es, or
        :py:class:`~shop.Bag`.

        :param kind: A
            :class:`Kind`.
        :returns: :class:`Box`
        """
    )
    assert documentation == Documentation(
        lead="`Find` one.",
        description="`Box`es, or\n`Bag`.",
        parameters={"kind": "A\n`Kind`."},
        returns="`Box`",
    )


def test_a_summary_is_one_line_of_plain_text_and_all_else_is_markdown():
    documentation = Documentation.of(
        """Show *one* thing of ``all``,
        see :func:`find`.

        More: ``b``.

        Args:
            thing: A ``thing``.

        Returns:
            The :class:`Thing`.
        """
    )
    assert documentation == Documentation(
        lead="Show *one* thing of `all`, see `find`.",
        description="More: `b`.",
        parameters={"thing": "A `thing`."},
        returns="The `Thing`.",
    )
    assert documentation.summary == "Show one thing of all, see find."
    assert documentation.prose == "Show *one* thing of `all`, see `find`.\n\nMore: `b`."
