"""Tables in Markdown, and text that anybody may have chosen."""

import re
from collections.abc import Iterable, Sequence

from gaborseg.machine import printable

_MARKUP = re.compile(r"[\\`*<]|\](?=\()")
"""What begins an element of HTML, code or emphasis, or makes a link."""


def markdown_text(text: str) -> str:
    r"""Return text on one line that Markdown shows as it is: no HTML, no links, no images.

    >>> markdown_text("Dice [%] of <b>![x](y)")
    'Dice [%] of \\<b>![x\\](y)'
    """
    return printable(_MARKUP.sub(r"\\\g<0>", " ".join(text.split())))


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Return a table in Markdown whose columns are aligned, readable as it is.

    >>> print(markdown_table(["way", "time"], [["a|b", "12 s"]]))
    | way  | time |
    | ---- | ---- |
    | a\|b | 12 s |
    """
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *body = (" | ".join(map(str.ljust, line, widths)) for line in lines)
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in (head, rule, *body))
