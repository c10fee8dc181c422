"""Which setting is at fault when an object cannot be made of its node, said in one line."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_FULL_KEY = re.compile(r"\nfull_key: (\S+)$")
_LOCATING = re.compile(r"Error locating target '(.*?)'")
_UNEXPECTED = re.compile(r"got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r"missing \d+ required .*?: '(\w+)'")
_OUR_WORDS = re.compile(r"(\w+)((?: and \w+)? (?:must|may|needs) .*)", re.DOTALL)
"""How our own errors begin: with the argument."""
_NUMBER = re.compile(r"-?\d+\.?\d*(?:[eE][+-]?\d+)?")
_TARGET = "_target_"
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_OWN = "gaborseg."  # what is ours says itself what is wrong


class Settings:
    """The settings of an object, and of what it is made of, by their whole names.

    They are read before the object is made: Hydra then puts values in the place of references.

    Args:
        node: The object's, in the whole configuration or alone.
    """

    def __init__(self, node: DictConfig | Mapping[str, Any]) -> None:
        whole = node._get_root() if isinstance(node, DictConfig) else node
        self.tree = OmegaConf.to_container(whole) if OmegaConf.is_config(whole) else whole
        self.key = str(node._get_full_key(None)) if isinstance(node, DictConfig) else ""

    def blamed(self, error: Exception, otherwise: str | None = None) -> str:
        """Return an error of making the object as one line that begins with the setting at fault.

        Args:
            error: Hydra's, or what a call of the object has raised.
            otherwise: The argument at fault where the error does not tell any.
        """
        if told := _FULL_KEY.search(str(error)):
            self.key = self._followed(re.sub(r"\[(\d+)\]", r".\1", told[1]))
        cause = error.__cause__ if error.__cause__ and _is_of_hydra(error) else error
        text = _one_line(cause)
        if located := _LOCATING.match(str(error)):
            key = f"{self.key}.{_TARGET}".lstrip(".")
            return f"{key} must name what can be imported, got {located[1]}: {text}"
        if isinstance(cause, TypeError) and (line := self._wrong_arguments(text)):
            return line
        return text if isinstance(cause, ImportError) else self._wrong_value(text, otherwise)

    def _wrong_arguments(self, text: str) -> str | None:
        """Return what to say about an argument that is unknown, or not given; None if none is."""
        if (unknown := _UNEXPECTED.search(text)) and (place := self._place(unknown[1], text)):
            target = self._target(place.rpartition(".")[0])
            known = _arguments(target)
            near = get_close_matches(unknown[1], known, n=1)
            hint = f"the nearest is {near[0]}" if near else f"it takes {', '.join(known)}"
            return f"{place} must be an argument of {target}, got {self._value(place)}: {hint}"
        if (missing := _MISSING.search(text)) and missing[1] in _arguments(self._target(self.key)):
            place = f"{self.key}.{missing[1]}"
            return f"{place} must be given, for {self._target(self.key)}: add +{place}=..."
        return None

    def _wrong_value(self, text: str, otherwise: str | None) -> str:
        """Return what to say about a value that is refused."""
        if self._is_named(text):
            return text
        target = self._target(self.key)
        if (ours := _OUR_WORDS.match(text)) and (place := self._place(ours[1], text)):
            value = self._value(place)
            return f"{place}{ours[2]}{'' if 'got ' in text else f', got {value}'}"
        if target.startswith(_OWN):
            return f"{self.key}: {text}" if self.key else text
        if place := self._mentioned(text) or self._place(otherwise, text):
            default = _arguments(target).get(place.rpartition(".")[2], inspect.Parameter.empty)
            remedy = "" if default is inspect.Parameter.empty else f"; its default is {default}"
            return f"{place}={self._value(place)} cannot be used by {target}: {text}{remedy}"
        return f"{self.key or target} cannot be made by {target} of its settings: {text}"

    def _is_named(self, text: str) -> bool:
        """Return whether an error already begins with a whole setting."""
        key = re.split(r"[ =:]", text, maxsplit=1)[0]
        return "." in key and self._at(key.split(".")) is not None

    def _place(self, argument: str | None, text: str) -> str | None:
        """Return the setting of an argument: the node's own, else the only one below it.

        Of several below it, it is the only one whose value is in the error.
        """
        if argument is None:
            return None
        if argument in self._node(self.key):
            return self._followed(f"{self.key}.{argument}")
        below = {key: value for key, value in self._below() if key.split(".")[-1] == argument}
        if len(below) > 1:
            below = {key: value for key, value in below.items() if text.endswith(f"got {value}")}
        return next(iter(below)) if len(below) == 1 else None

    def _mentioned(self, text: str) -> str | None:
        """Return the only argument of the node whose name, else whose value, an error mentions."""
        names = [name for name in self._node(self.key) if name[0] != "_"]
        own = {name: self._value(f"{self.key}.{name}") for name in names}
        named = [name for name in own if re.search(rf"\b{re.escape(name)}\b", text)]
        valued = [name for name, value in own.items() if _has_value(text, value)]
        end = re.split(r"\b(?:got|not) ", text)[-1]
        for found in (
            named,
            [name for name in valued if name in named],
            [name for name in valued if _has_value(end, own[name])],
            valued,
        ):
            if len(found) == 1:
                return self._followed(f"{self.key}.{found[0]}")
        return None

    def _below(self, key: str | None = None, depth: int = 9) -> Iterator[tuple[str, Any]]:
        """Yield every single setting below a node, by its whole name, with its value."""
        key = self._followed(self.key if key is None else key)
        node = self._at(key.split("."))
        if not isinstance(node, dict | list):
            yield key, node
        elif depth:
            for name in node if isinstance(node, dict) else range(len(node)):
                yield from self._below(f"{key}.{name}", depth - 1)

    def _followed(self, key: str) -> str:
        """Return where a setting is written that another one may refer to."""
        parts: list[str] = []
        for part in filter(None, key.split(".")):
            value = self._at([*parts, part])
            reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            parts = self._followed(reference[1]).split(".") if reference else [*parts, part]
        return ".".join(parts)

    def _value(self, key: str) -> Any:
        return self._at(self._followed(key).split("."))

    def _target(self, key: str) -> str:
        return str(self._node(key).get(_TARGET, key))

    def _node(self, key: str) -> dict[str, Any]:
        """Return the settings in a node; empty if it is none."""
        node = self._at(key.split("."))
        return node if isinstance(node, dict) else {}

    def _at(self, parts: Sequence[str]) -> Any:
        """Return the value of a setting as it is written, None if there is none."""
        node: Any = self.tree
        for part in filter(None, parts):
            if isinstance(node, list) and part.isdigit() and int(part) < len(node):
                node = node[int(part)]
            else:
                node = node.get(part) if isinstance(node, dict) else None
        return node


def _one_line(error: BaseException) -> str:
    """Return what an error says; of a value's, the first of several problems."""
    lines = str(error).split("\nfull_key:")[0].splitlines()
    text = " ".join(" ".join(lines[: 1 if isinstance(error, ValueError) else None]).split())
    return text or type(error).__name__


def _is_of_hydra(error: Exception) -> bool:
    return type(error).__module__.startswith("hydra.")


def _arguments(target: str) -> dict[str, Any]:
    """Return the arguments by name that something takes, with their defaults."""
    try:
        found = get_object(target)
    except Exception:  # whatever importing it raises, again
        return {}
    known: dict[str, Any] = {}
    for kind in found.__mro__ if isinstance(found, type) else (found,):
        parameters = _parameters(kind)
        new = {p.name: p.default for p in parameters if p.kind in _BY_NAME and p.name != "self"}
        known |= {name: default for name, default in new.items() if name not in known}
        if all(p.kind != inspect.Parameter.VAR_KEYWORD for p in parameters):
            break  # or the rest goes on to the class above
    return known


def _parameters(kind: Any) -> list[inspect.Parameter]:
    try:
        signature = inspect.signature(kind.__init__ if isinstance(kind, type) else kind)  # type: ignore[misc]
    except (ValueError, TypeError):  # of a builtin
        return []
    return [*signature.parameters.values()]


def _has_value(text: str, value: Any) -> bool:
    """Return whether an error mentions a value: a number in any form, or a text."""
    if isinstance(value, list):
        return any(_has_value(text, item) for item in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) in map(float, _NUMBER.findall(text))
    found = isinstance(value, str) and value and re.escape(value)
    return bool(found) and re.search(rf"(?<!\w){found}(?!\w)", text) is not None
