"""Reader of trees in Newick notation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Node:
    """A node with the length of the branch above it; names are not kept."""

    children: list[Node]
    length: float | None

    def walk(self) -> Iterator[Node]:
        """Yield the node, then those below it, in reading order."""
        yield self
        for child in self.children:
            yield from child.walk()


def read_newick(text: str) -> Node:
    """Root of the tree that ``text`` describes."""
    tokens = _Tokens(text)
    root = _read_node(tokens)
    tokens.skip(";")
    if tokens.next:
        raise ValueError(f"tree={text!r} is not valid Newick: {tokens.next!r} follows its end")
    if root.length is not None:
        raise ValueError(f"tree={text!r} has a branch above its root; cells lie only below the root")
    return root


class _Tokens:
    """Tokens of a Newick string, read from the front; the last one is empty."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = [*re.findall(r"[(),:;]|[^(),:;\s]+", text), ""][::-1]

    @property
    def next(self) -> str:
        return self._tokens[-1]

    def take(self) -> str:
        return self._tokens.pop() if self.next else ""

    def skip(self, token: str) -> bool:
        """Whether ``token`` came next, and was taken."""
        return self.next == token and bool(self.take())


def _read_node(tokens: _Tokens) -> Node:
    children: list[Node] = []
    if tokens.skip("("):
        children.append(_read_node(tokens))
        while tokens.skip(","):
            children.append(_read_node(tokens))
        if not tokens.skip(")"):
            raise ValueError(f"tree={tokens.text!r} is not valid Newick: expected ',' or ')', found {tokens.next!r}")
    if tokens.next not in tuple("(),:;"):
        tokens.take()  # the name of the node
    length = None
    if tokens.skip(":"):
        try:
            length = float(tokens.take())
        except ValueError:
            raise ValueError(f"tree={tokens.text!r} is not valid Newick: a ':' without a length") from None
    return Node(children, length)
