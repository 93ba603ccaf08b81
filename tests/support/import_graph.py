"""The import graph of the product, read from its sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Folders of the checkout and the package that each becomes in the wheel.
PACKAGES = {"qkan": "qkan", "kernels": "qkan.kernels", "datasets": "qkan.datasets", "cli": "qkan.cli"}
Graph = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module of the product by its name; a package's ``__init__`` by the name of the package."""
    found = {}
    for folder, package in PACKAGES.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = [package, *file.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


def import_graph(files: Mapping[str, Path]) -> Graph:
    """The modules of ``files`` that each imports, in functions too, but not for type checkers alone."""
    graph: Graph = {}
    for name, file in files.items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        graph[name] = {target for target in _imported(tree, files) if target in files and target != name}
    return graph


def _imported(tree: ast.AST, files: Mapping[str, Path]) -> Iterator[str]:
    """Names that ``tree`` imports; ``from package import module`` is the module."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            skipped.update(inner for statement in node.body for inner in ast.walk(statement))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in files else str(node.module)


def folders_of(graph: Graph, files: Mapping[str, Path]) -> Graph:
    """What each folder imports of other folders. A module that lies beside folders counts as one of its own.

    What an ``__init__`` offers of its own folder does not count.
    """
    leaves = {file.parent for file in files.values()} - {file.parent.parent for file in files.values()}
    node = {
        name: (file.parent if file.parent in leaves else file.with_suffix("")).relative_to(ROOT).as_posix()
        for name, file in files.items()
    }
    found: Graph = {}
    for name, targets in graph.items():
        if files[name].name != "__init__.py" or files[name].parent in leaves:
            found.setdefault(node[name], set()).update({node[target] for target in targets} - {node[name]})
    return found


def cycles(graph: Graph) -> list[list[str]]:
    """The groups of nodes that reach each other (Tarjan's strongly connected components with more than one node)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in number:
                visit(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], number[target])
        if lowest[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in number:
            visit(node)
    return found
