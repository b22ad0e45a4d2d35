"""Signatures of named sub-formulas in YAML's flow style, where a comma would end a key."""

from __future__ import annotations

import yaml


def rejoin(root: yaml.Node) -> None:
    """Give ``define: {live(c, m): "…"}`` its key back, in the file's and in each contract's `define`.

    In flow style YAML reads that as two keys, ``live(c`` (of nothing) and ``m)``. They are joined where a
    bracket is open and nothing was given, so that what is wrong otherwise still is.
    """
    for define in _defines(root):
        define.value = _joined(define.value)


def _defines(root: yaml.Node) -> list[yaml.MappingNode]:
    """Return the `define` mappings in flow style."""
    owners = [root]
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if str(key.value) == "contracts" and isinstance(value, yaml.SequenceNode):
                owners += value.value
    return [
        value
        for owner in owners
        if isinstance(owner, yaml.MappingNode)
        for key, value in owner.value
        if str(key.value) == "define" and isinstance(value, yaml.MappingNode) and value.flow_style
    ]


def _joined(pairs: list[tuple[yaml.Node, yaml.Node]]) -> list[tuple[yaml.Node, yaml.Node]]:
    found: list[tuple[yaml.Node, yaml.Node]] = []
    pending: list[tuple[yaml.Node, yaml.Node]] = []
    for key, value in pairs:
        if not pending and not _open(key, value):
            found.append((key, value))
            continue
        pending.append((key, value))
        if _open(key, value) or (_empty(value) and ")" not in str(key.value)):
            continue
        found.append((_key(pending), value))
        pending = []
    return found + pending


def _open(key: yaml.Node, value: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and "(" in key.value and ")" not in key.value and _empty(value)


def _empty(value: yaml.Node) -> bool:
    return isinstance(value, yaml.ScalarNode) and not value.value and value.style is None


def _key(pending: list[tuple[yaml.Node, yaml.Node]]) -> yaml.ScalarNode:
    first, last = pending[0][0], pending[-1][0]
    text = ", ".join(str(key.value) for key, _ in pending)
    return yaml.ScalarNode(first.tag, text, first.start_mark, last.end_mark, style=None)
