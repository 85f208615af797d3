"""Parse docstrings of functions and classes, for schemas, lists and help."""

from __future__ import annotations

import enum
import inspect
import typing

import msgspec

_MARKS = ("`", "::", ">>> ")
"""A text without any of these needs no translation to Markdown."""


class Documentation(msgspec.Struct, frozen=True):
    """The parts of a docstring, as Markdown. Its sections may have Google, NumPy, reST or Epydoc style.

    Args:
        lead: The first paragraph.
        description: The rest of the prose.
        parameters: The descriptions of the parameters, by name.
        returns: The description of the result.
    """

    lead: str = ""
    description: str = ""
    parameters: typing.Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    returns: str = ""

    @property
    def summary(self) -> str:
        """The first paragraph as plain text on one line."""
        return summary_of(self.lead)

    @property
    def prose(self) -> str:
        """The first paragraph and the description."""
        return "\n\n".join(filter(None, (self.lead, self.description)))

    @classmethod
    def of_class(cls, described: type) -> Documentation:
        """Parse the docstring of a class; empty for an inherited one and for one that Python generates."""
        text: str = described.__dict__.get("__doc__") or ""
        if text.startswith((f"{described.__name__}(", "Alias for field")):
            return cls()
        if issubclass(described, enum.Enum) and text in ("An enumeration.", enum.Enum.__doc__):
            return cls()
        return cls.of(inspect.cleandoc(text))

    @classmethod
    def of(cls, docstring: str | None) -> Documentation:
        """Parse `docstring`; None and an empty text give empty parts."""
        if not docstring:
            return cls()
        from docstring_parser import parse  # needed for documentation only, not by a call

        if ":`" in docstring:
            from servey.docstring.markup import without_leading_roles

            docstring = without_leading_roles(docstring)
        parsed = parse(docstring)
        summary, description = parsed.short_description or "", parsed.long_description or ""
        if description and not parsed.blank_after_short_description:
            # the parser takes only the first line; the summary is the first paragraph, as in PEP 257
            more, _, description = description.partition("\n\n")
            summary = " ".join([summary, *more.split("\n")])
        return cls(
            lead=markdown_of(summary),
            description=markdown_of(description),
            parameters={item.arg_name: markdown_of(item.description) for item in parsed.params},
            returns=markdown_of(parsed.returns and parsed.returns.description),
        )


def markdown_of(text: str | None) -> str:
    """Return a description, in Markdown or reStructuredText, as stripped Markdown; empty for none."""
    text = (text or "").strip()
    if not any(mark in text for mark in _MARKS):
        return text
    from servey.docstring.markup import markdown  # needed for documentation only, not by a call

    return markdown(text)


def plain_of(text: str) -> str:
    """Return a description, in Markdown or reStructuredText, as plain text."""
    from servey.docstring.markup import markdown, plain

    return plain(markdown(text))


def summary_of(text: str) -> str:
    """Return a description, in Markdown or reStructuredText, as plain text on one line."""
    return " ".join(plain_of(text).split())
