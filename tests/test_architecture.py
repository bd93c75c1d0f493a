"""The house rules that a machine can check: layers, start-up without torch, sizes, words at the door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
SOURCES = sorted((REPO / "linftui").rglob("*.py"))
HEAVY = ("torch", "textual", "sklearn", "matplotlib", "pooch", "scipy", "safetensors")


def test_layers_hold() -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=REPO,
        capture_output=True,
        text=True,
    )
    assert lint.returncode == 0, lint.stdout


@pytest.mark.parametrize(
    "module",
    [
        "linftui.cli.app",
        "linftui.cli.follow",
        "linftui.rundir.store",
        "linftui.recipe.load",
        "linftui.devices",
        "linftui.launch.supervisor",
        "linftui.launch.certification",
        "linftui.launch.prepare",
        "linftui.launch.begin",
        "linftui.actions.certify",
        "linftui.actions.resume",
        "linftui.actions.stop",
        "linftui.actions.train",
        "linftui.worker.__main__",
        "linftui.tui.app",
        "linftui.certify.picture",
        "linftui.data.download",
    ],
)
def test_what_starts_quickly_imports_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*(set({HEAVY!r}) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # The dashboard is drawn by Textual; nothing else of what is heavy may come along.
    assert set(loaded.stdout.split()) <= ({"textual"} if module.startswith("linftui.tui") else set())


def module_of(path: Path) -> str:
    """A module's dotted name; a package's is that of its `__init__`."""
    return ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path, known: set[str]) -> set[str]:
    """What of `known` a module imports, wherever in it: in functions and for type checkers as well."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & known
            if not inner <= known:  # something that stands in the module itself
                found.add(node.module)
    return found & known


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The modules that import each other, directly or not: strongly connected components of several."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen, ahead = set[str](), list(graph[start])
        while ahead:
            if (module := ahead.pop()) not in seen:
                seen.add(module)
                ahead += graph[module]
        reached[start] = seen
    together = {
        frozenset({module} | {other for other in reached[module] if module in reached[other]})
        for module in graph
    }
    return sorted((set(found) for found in together if len(found) > 1), key=sorted)


def test_no_modules_import_each_other() -> None:
    modules = {module_of(path): path for path in SOURCES}
    graph = {name: imports_of(path, set(modules)) - {name} for name, path in modules.items()}
    assert "linftui.tui.live.poller" in graph["linftui.tui.app"]
    assert circles(graph) == []


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"f"}, "f": {"e"}}
    assert circles(graph) == [{"a", "b", "c"}, {"e", "f"}]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPO)))
def test_a_module_says_why_it_exists_and_stays_small(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module opens by saying why it exists"
    assert len(text.splitlines()) <= 500
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    long = [f.name for f in functions if (f.end_lineno or f.lineno) - f.lineno + 1 > 60]
    assert not long


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPO)))
def test_every_public_class_and_function_is_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    undocumented = [node.name for node in public if not ast.get_docstring(node)]
    # The sections of a recipe are documented field by field, which another test checks.
    if path.name == "schema.py":
        undocumented = [name for name in undocumented if not name[0].isupper()]
    assert not undocumented
