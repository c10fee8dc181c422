"""Names that anybody may have chosen, and what terminals, spreadsheets and files read into them."""

import re

_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but for tab and newline, turns of direction, bytes that are no UTF-8."""
_FORMULA = re.compile(r"[=+\-@\t\r]")
"""What a spreadsheet takes for the beginning of a formula."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def printable(text: str) -> str:
    r"""Return text that does nothing to a terminal but stand there: what is hidden is spelt out.

    Example:
        >>> printable("\x1b[2Ja\udcff")
        '\\x1b[2Ja\\udcff'
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def encodable(text: str) -> str:
    r"""Return a name that UTF-8 can hold: bytes of a file's name that are not UTF-8 are spelt out.

    Example:
        >>> encodable("a\udcff")
        'a\\udcff'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def as_cell(text: str) -> str:
    """Return text as a cell of a table: with a quote before what looks like a formula.

    Numbers stay as they are.

    Example:
        >>> [as_cell(text) for text in ("left", "=1+1", "-1.5", "'=1")]
        ['left', "'=1+1", '-1.5', "''=1"]
    """
    looks_so = _FORMULA.match(text.lstrip("'")) and not _NUMBER.fullmatch(text)
    return f"'{text}" if looks_so else text


def of_cell(cell: str) -> str:
    """Return the text that a cell was made of.

    Example:
        >>> [of_cell(cell) for cell in ("left", "'=1+1", "-1.5", "''=1", "'n")]
        ['left', '=1+1', '-1.5', "'=1", "'n"]
    """
    quoted = cell.startswith("'") and _FORMULA.match(cell.lstrip("'"))
    return cell[1:] if quoted else cell
