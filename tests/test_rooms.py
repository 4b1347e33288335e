"""The architecture: imports run downwards from room to room, and no modules import in a circle."""

import ast
import functools
import graphlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keras_cmsa"

# From the ground up, as docs/architecture.md has them. A room imports from those below it and itself.
PAGE = (ROOT / "docs/architecture.md").read_text("utf-8")
FLOORS = re.findall(r"(?m)^\| `keras_cmsa/(\w+)/` \| \S", PAGE)[::-1]
# What may be used by the model's mathematics: it runs on every backend.
PURE = {"layers", "models", "training/losses.py", "training/metrics.py"}
FRAMEWORKS = {"tensorflow", "jax", "torch", "tensorflow_datasets", "tensorflow_text", "keras_cv"}


def modules():
    """`{module: path}` of the package but for its front page, which names all rooms."""
    paths = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE]
    return {module_name(path): path for path in paths}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imports(path):
    """Dotted names that a file imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        # A command of the command line is named by text and imported when it runs.
        elif isinstance(node, ast.Constant) and str(node.value).startswith("keras_cmsa."):
            names.add(str(node.value).partition(":")[0])
    return names


@functools.cache
def arrows():
    """Pairs of a module and one that it imports, both of the package's rooms."""
    known = modules()
    return {
        (name, target)
        for name, path in known.items()
        for target in imports(path)
        if target in known and target != name
    }


def room(module):
    return module.split(".")[1]


def test_every_folder_is_a_floor_of_the_page():
    assert sorted(FLOORS) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def test_imports_run_downwards():
    upward = [
        f"{name} -> {target}"
        for name, target in sorted(arrows())
        if FLOORS.index(room(target)) > FLOORS.index(room(name))
    ]
    assert not upward


def test_the_walk_sees_imports_inside_functions():
    """The check above can fail: these arrows are written in functions, in text and at the top."""
    found = arrows()
    assert ("keras_cmsa.cli.segment", "keras_cmsa.inference.predictor") in found
    assert ("keras_cmsa.cli.main", "keras_cmsa.cli.train") in found
    assert ("keras_cmsa.models.rrn", "keras_cmsa.layers") in found
    assert len(found) > 200


def test_no_modules_import_in_a_circle():
    targets = {}
    for name, target in arrows():
        targets.setdefault(name, set()).add(target)
    graphlib.TopologicalSorter(targets).prepare()  # its error has the circle


def test_only_the_command_line_knows_flags():
    """Below it an error names the argument; `keras_cmsa.cli.command_line` makes a flag of that.

    A whole text may be one, for another program, and leakage prints what to give.
    """
    for name, path in modules().items():
        if room(name) != "cli" and name != "keras_cmsa.data.leakage":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found = [text for text in texts(tree) if re.search(r"(?<![\w-])--[a-z]", text)]
            assert not [text for text in found if not re.fullmatch(r"--\S+", text)], name


def texts(node):
    """The texts in some code but for docstrings."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from texts(child)


def test_the_models_mathematics_uses_keras_only():
    """Layers, models, losses and metrics import no framework, so they run on every backend."""
    for name, path in modules().items():
        place = path.relative_to(PACKAGE).as_posix()
        if room(name) in PURE or place in PURE:
            used = {target.split(".")[0] for target in imports(path)}
            assert not used & FRAMEWORKS, place


def test_recipes_and_benchmarks_are_above_the_package():
    """The package imports neither: it is whole in a wheel."""
    for name, path in modules().items():
        outside = {target.split(".")[0] for target in imports(path)} & {"recipes", "benchmarks"}
        assert not outside, name
