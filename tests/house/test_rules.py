"""Rules that CONTRIBUTING.md names: the import graph, sizes of folders, files and functions, public names, words."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from documents import pages
from import_graph import ROOT, cycles, folders_of, import_graph, modules

FILES = modules()
GRAPH = import_graph(FILES)
INITS = {name: file for name, file in FILES.items() if file.name == "__init__.py"}
DOCUMENTS = [ROOT / "CONTRIBUTING.md", *pages()]

LINES_OF_A_FILE, LINES_OF_A_FUNCTION, MODULES_OF_A_FOLDER, ARGUMENTS = 400, 80, 15, 10
#: Functions of many arguments that are no kernels: modules and functions whose options are their users' words.
MANY_ARGUMENTS = {
    "kernels/layer.py:__init__",
    "kernels/recurrence/custom_op.py:forward",
    "kernels/recurrence/custom_op.py:gradients",
    "qkan/forecasting/report/page.py:write_report",
    "qkan/interop/neuralforecast.py:__init__",
    "qkan/interop/sklearn.py:__init__",
    "qkan/layers/daruan.py:__init__",
    "qkan/layers/kan_layer.py:__init__",
    "qkan/layers/qkan_layer.py:__init__",
    "qkan/layers/rational.py:__init__",
    "qkan/layers/spline_layer.py:__init__",
    "qkan/rnn/fwp.py:__init__",
    "qkan/rnn/lstm.py:__init__",
    "qkan/rnn/qlstm.py:__init__",
    "qkan/vision/attention.py:__init__",
}
IGNORED_TYPES = 21
#: Modules that need packages which the test environment does not have.
ADAPTERS = ("qkan.interop.neuralforecast", "qkan.interop.darts", "qkan.interop.sktime")
#: Folders of modules, and texts that look like names of the package but are keys in files.
FOLDERS = sorted({file.parent.relative_to(ROOT).as_posix() for file in FILES.values()})
NO_NAMES = {"qkan.json", "qkan.milan"}
#: Words that only their authors understood.
PRIVATE_WORDS = (
    "in the clothes of",
    "believe nothing",
    "what there is not",
    "values that are not there",
    "where kernels stop",
    "contestant",
    "waves_of",
    "why_not",
    "qkan bench",
)


_EXAMPLES = re.compile(r"\n\n? *Examples:\n.*?(?=\n? *\"\"\")", re.DOTALL)


def length(text: str) -> int:
    """Lines of code, without the examples of docstrings."""
    return _EXAMPLES.sub("", text).count("\n")


def is_kernel(function: ast.FunctionDef) -> bool:
    """Whether Numba or Triton compiles it, or calls it from what they compile."""
    return any(re.search(r"kernel|inlined|jit|overload|intrinsic", ast.unparse(one)) for one in function.decorator_list)


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function of the product that no compiler compiles, with the path of its file."""
    for file in FILES.values():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and not is_kernel(node):
                yield file.relative_to(ROOT).as_posix(), node


def arguments(function: ast.FunctionDef) -> int:
    given = function.args
    first = given.args[0].arg if given.args else ""
    return len(given.args) + len(given.kwonlyargs) + len(given.posonlyargs) - (first in ("self", "cls", "ctx"))


def test_no_files_import_each_other_in_a_circle() -> None:
    assert cycles(GRAPH) == []


def test_no_folders_import_each_other_in_a_circle() -> None:
    assert cycles(folders_of(GRAPH, FILES)) == []


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    sources = {
        "one": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import three\nimport two",
        "two": "def later():\n    from package import inner",
        "package": "",
        "package.inner": "import one",
        "three": "import one",
    }
    files = {name: tmp_path / f"{name}.py" for name in sources}
    for name, text in sources.items():
        files[name].write_text(text)
    assert cycles(import_graph(files)) == [["one", "package.inner", "two"]]


def test_folders_hold_few_modules() -> None:
    found = Counter(file.parent.relative_to(ROOT).as_posix() for file in FILES.values() if file.name != "__init__.py")
    assert {folder: count for folder, count in found.items() if count > MODULES_OF_A_FOLDER} == {}


def test_files_are_short() -> None:
    lines = {file.relative_to(ROOT).as_posix(): length(file.read_text()) for file in FILES.values()}
    assert {file: count for file, count in lines.items() if count > LINES_OF_A_FILE} == {}


@cache
def source(file: str) -> list[str]:
    return (ROOT / file).read_text(encoding="utf-8").splitlines()


def lines_of(file: str, node: ast.FunctionDef) -> int:
    return length("\n".join(source(file)[node.lineno - 1 : node.end_lineno])) + 1


def test_functions_are_short() -> None:
    sizes = {f"{file}:{node.name}": lines_of(file, node) for file, node in functions()}
    assert {name: size for name, size in sizes.items() if size > LINES_OF_A_FUNCTION} == {}


def test_functions_take_few_arguments() -> None:
    many = {f"{file}:{node.name}" for file, node in functions() if arguments(node) > ARGUMENTS}
    assert many == MANY_ARGUMENTS
    assert len(MANY_ARGUMENTS) <= 15


def test_types_are_rarely_ignored() -> None:
    assert sum(file.read_text().count("type: ignore") for file in FILES.values()) <= IGNORED_TYPES


def public_names(init: Path) -> list[str] | None:
    """What ``__all__`` lists; None if it is not a list in the file, but made by ``lazy_exports``."""
    for node in ast.parse(init.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            names = [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
            if "__all__" in names:
                return ast.literal_eval(node.value) if isinstance(node.value, ast.List) else None
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "__all__" and node.value is not None:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{init} has no __all__")


@pytest.mark.parametrize("name", INITS)
def test_folders_say_what_they_are_and_what_is_public(name: str) -> None:
    assert ast.get_docstring(ast.parse(INITS[name].read_text(encoding="utf-8")))
    public_names(INITS[name])


@pytest.mark.parametrize("name", INITS)
def test_other_folders_import_public_modules_alone(name: str) -> None:
    folder = INITS[name].parent
    inside = {module for module in FILES if FILES[module].parent == folder and module != name}
    public = public_names(INITS[name])
    if public is None or {f"{name}.{word}" for word in public} - inside:
        return  # names of classes and functions: what else is private is for the reader to see
    imported = {target for module, targets in GRAPH.items() if FILES[module].parent != folder for target in targets}
    assert sorted(imported & inside - {f"{name}.{word}" for word in public}) == []


def test_pyproject_lists_every_folder() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^packages = (\[\n.*?^\])", text, re.MULTILINE | re.DOTALL)
    packages = {name if name in INITS else name.rpartition(".")[0] for name in FILES}
    assert ast.literal_eval(listed) == sorted(packages)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_pages_name_files_that_exist(document: Path) -> None:
    named = re.findall(
        r"`((?:qkan|kernels|datasets|cli|benchmarks|examples|tools|tests|docs)/[\w./-]+)`", document.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_pages_and_examples_import_from_where_a_name_is_public(document: Path) -> None:
    """Folders offer it; adapters are the exception, as the packages that they need may not be installed."""
    for module, names in re.findall(r"^from (qkan[\w.]*) import ([\w, ]+)$", document.read_text(), re.MULTILINE):
        assert module in (*INITS, *ADAPTERS), f"{module} is a module; import {names} from its folder"


@pytest.mark.parametrize("word", PRIVATE_WORDS)
def test_no_private_words(word: str) -> None:
    pattern = re.compile(rf"\b{re.escape(word)}", re.IGNORECASE)
    everywhere = [*DOCUMENTS, *FILES.values(), *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "examples").glob("*.py")]
    assert [path.relative_to(ROOT).as_posix() for path in everywhere if pattern.search(path.read_text())] == []


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or what one holds."""
    module = max((module for module in FILES if f"{name}.".startswith(f"{module}.")), key=len)
    found: object = import_module(module)
    for part in name.removeprefix(module).split(".")[1:]:
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


@pytest.mark.parametrize("folder", ["docs", *FOLDERS])
def test_names_of_the_package_in_pages_and_docstrings_exist(folder: str) -> None:
    files = DOCUMENTS if folder == "docs" else (ROOT / folder).glob("*.py")
    pattern = r"`~?(qkan(?:\.\w+)+)(?:\(|`)"
    names = {name for file in files for name in re.findall(pattern, file.read_text()) if not name.startswith(ADAPTERS)}
    assert sorted(name for name in names - NO_NAMES if not resolves(name)) == []


def test_every_package_that_is_imported_is_declared() -> None:
    """What another dependency happens to bring may go with its next release."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[dependency-groups]")[0]
    declared = {name.lower().replace("-", "_") for name in re.findall(r'"([\w.-]+)(?:\[\w+\])?>=', project)}
    imported = set()
    for file in FILES.values():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0] for name in names}
    # Under another name, or part of what the package that is declared is for.
    known = {"sklearn": "scikit_learn", "google": "onnx", "llvmlite": "numba", "pytorch_lightning": "neuralforecast"}
    imported = {known.get(name, name) for name in imported} - set(sys.stdlib_module_names) - {"qkan", ""}
    imported -= {"transformers"}  # of the code that export_kat writes, for where it is installed
    assert imported - declared == set()
