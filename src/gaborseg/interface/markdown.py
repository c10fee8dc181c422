"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


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
