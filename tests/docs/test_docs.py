"""The pages prove themselves: every python and sh block of docs/ runs as it is printed, and every
file, name, command, extra and target that a page names is there."""

import configparser
import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (
    "getting_started.md", "using.md", "own_data.md", "label_tools.md", "evaluation.md", "extending.md",
)  # fmt: skip
READERS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "recipes/README.md",
    ROOT / "benchmarks/README.md",
    ROOT / "saved_models/README.md",
    *sorted(DOCS.glob("*.md")),
]
FOLDERS = "benchmarks|docs|keras_cmsa|recipes|serving|tests"


def code_of(page):
    """The text of a page that is code: spans in backticks, fenced blocks, indented blocks."""
    text = re.sub(r" \\\n *", " ", page.read_text("utf-8"))  # lines that go on
    fenced = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    text = re.sub(r"```\w*\n.*?```", "", text, flags=re.DOTALL)
    indented = re.findall(r"(?m)^    (\S.*)$", text)
    return [*fenced, *indented, *re.findall(r"`([^`\n]+)`", text)]


def named(pattern):
    """`(page, match)` for each match of a pattern in the code of the pages."""
    found = {
        (page.relative_to(ROOT).as_posix(), match)
        for page in READERS
        for code in code_of(page)
        for match in re.findall(pattern, code)
    }
    assert found
    return sorted(found)


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
@pytest.mark.filterwarnings("ignore:.*counts differ from the published")
@pytest.mark.parametrize("page", PAGES)
def test_examples_run(page, run_examples):
    run_examples(DOCS / page)


def test_every_page_with_examples_is_tested():
    with_examples = {
        p.name for p in DOCS.glob("*.md") if re.search("```(python|sh)\n", p.read_text("utf-8"))
    }
    # Those of serving.md need a server and exports: test_client.py and test_portable.py run them;
    # those of servers.md are servers, which test_servers.py starts.
    assert with_examples == {*PAGES, "serving.md", "servers.md"}


def test_files_that_are_named_are_there():
    pattern = rf"(?<![\w./-])(?:{FOLDERS})/[\w./-]*\w/?|(?<![\w./-])saved_models/README\.md"
    missing = [(page, path) for page, path in named(pattern) if not (ROOT / path).exists()]
    assert not missing


def test_modules_and_names_that_are_named_are_there():
    for page, dotted in named(r"(?<![\w./-])keras_cmsa(?:\.\w+)+"):
        parts = dotted.split(".")
        for depth in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(parts[:depth]))
                break
            except ModuleNotFoundError:
                continue
        for name in parts[depth:]:
            assert hasattr(found, name), (page, dotted)
            found = getattr(found, name)


def test_commands_that_are_named_take_their_flags():
    from keras_cmsa.cli.main import app

    lines = named(r"(?m)^(?:\.venv/bin/)?keras-cmsa (\w.*)$")
    for page, line in lines:
        arguments = shlex.split(line, comments=True)
        if "..." in line or len(arguments) == 1 or "--help" in arguments:
            assert arguments[0] in app, (page, line)
        else:
            # Raises where a command, a flag or a value is not one.
            app.parse_args(arguments, exit_on_error=False, print_error=False)
    assert len(lines) > 20


def test_extras_that_are_named_are_there():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = set(setup["options.extras_require"])
    for page, asked in named(r"keras-cmsa\[([\w,]+)\]"):
        assert set(asked.split(",")) <= extras, (page, asked)


def test_make_targets_that_are_named_are_there():
    targets = set(re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text("utf-8")))
    for page, target in named(r"(?m)^make ([\w-]+)"):
        assert target in targets, (page, target)


def test_links_within_the_repository_lead_somewhere():
    for page in READERS:
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / link).is_file(), (page.name, link)


def test_lines_are_short():
    """But for the rows of tables, which cannot be wrapped."""
    for page in READERS:
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
            assert line.startswith("|") or len(line) <= 120, (page.name, number)


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert set(re.findall(r": (\w+\.md)$", menu, re.MULTILINE)) == {
        p.name for p in DOCS.glob("*.md")
    }


def test_the_page_of_public_names_has_them_all():
    import keras_cmsa

    paths = re.findall(r"(?m)^::: ([\w.]+)$", (DOCS / "api.md").read_text("utf-8"))
    assert {path.rpartition(".")[2] for path in paths} == set(keras_cmsa.__all__) - {"__version__"}
    for path in paths:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name) is getattr(keras_cmsa, name)
