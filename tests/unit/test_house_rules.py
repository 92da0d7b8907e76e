"""The house rules of CONTRIBUTING, checked on the sources and on every tracked file."""

import ast
import io
import re
import subprocess
import textwrap
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
CHECKED = [
    *SOURCES,
    *sorted((ROOT / "bench").rglob("*.py")),
    *sorted((ROOT / "tests").rglob("*.py")),
]

MODULE_LINES = 400
CLASS_LINES = 300
FUNCTION_LINES = 50
PARAMETERS = 6
NESTING = 4
DEPENDENCIES = 8
# Words that say nothing about what a thing is, and coined agent nouns.
BAD_WORDS = ("manager", "handler", "helper", "util", "processorer", "factory", "misc", "common")
# The only abbreviations that names may use beyond everyday words.
PEER_WORDS = (
    "habery",
    "kevery",
    "verfer",
    "diger",
    "siger",
    "cigar",
    "saider",
    "tholder",
    "serder",
)


def _code_lines(text: str) -> int:
    """Count the lines that hold code: no blank lines, comments and docstrings."""
    tree = ast.parse(text)
    docs: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                docs.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            case _:
                pass
    lines: set[int] = set()
    skipped = (
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
        tokenize.ENDMARKER,
    )  # fmt: skip
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docs)


def _nodes(path: Path, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, kinds):
            yield node


def _source(path: Path, node: ast.stmt) -> str:
    lines = path.read_text("utf-8").splitlines(keepends=True)
    return "".join(lines[node.lineno - 1 : node.end_lineno])


def _comments(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.string


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607 - the git of the developer
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_modules_are_short(path: Path) -> None:
    """A module has at most 400 lines of code; one that needs more has two subjects."""
    assert _code_lines(path.read_text("utf-8")) <= MODULE_LINES


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_classes_and_functions_are_short(path: Path) -> None:
    """A class has at most 300 lines and a function at most 50, of code."""
    for node in _nodes(path, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef):
        assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        lines = _code_lines(textwrap.dedent(_source(path, node)))
        limit = CLASS_LINES if isinstance(node, ast.ClassDef) else FUNCTION_LINES
        assert lines <= limit, node.name


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_functions_take_few_parameters(path: Path) -> None:
    """A function takes at most 6 parameters, or says why on its line."""
    text = path.read_text("utf-8").splitlines()
    for node in _nodes(path, ast.FunctionDef, ast.AsyncFunctionDef):
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        count = sum(one.arg not in ("self", "cls") for one in arguments)
        reasoned = "noqa: PLR0913 - " in text[node.lineno - 1]
        assert count <= PARAMETERS or reasoned, node.name


def _nesting(node: ast.AST, level: int = 0) -> int:
    """Return the deepest level of blocks in a node; functions within it count for themselves."""
    deepest = level
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        block = isinstance(child, ast.If | ast.For | ast.While | ast.With | ast.Try | ast.Match)
        chained = isinstance(child, ast.If) and getattr(node, "orelse", None) == [child]
        inner = level + (block and not (chained and isinstance(node, ast.If)))
        deepest = max(deepest, _nesting(child, inner))
    return deepest


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_nesting_is_shallow(path: Path) -> None:
    """Blocks in a function are nested at most four levels deep."""
    for node in _nodes(path, ast.FunctionDef, ast.AsyncFunctionDef):
        assert _nesting(node) <= NESTING, getattr(node, "name", "")


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_names_say_what_things_are(path: Path) -> None:
    """No name is built of empty words or of the abbreviations that peers coined."""
    names = {path.stem}
    for node in _nodes(path, ast.ClassDef, ast.FunctionDef, ast.arg):
        names.add(node.arg if isinstance(node, ast.arg) else node.name)  # type: ignore[attr-defined] # as asked
    for name in names:
        assert not any(word in name.lower() for word in (*BAD_WORDS, *PEER_WORDS)), name


@pytest.mark.parametrize("path", CHECKED, ids=_named)
def test_suppressed_rules_have_a_reason(path: Path) -> None:
    """`noqa` and `type: ignore` say why on their line."""
    for comment in _comments(path):
        if "noqa" in comment:
            assert re.search(r"noqa: ([A-Z]+[0-9]+(, )?)+ - \S+", comment), comment
        if "type: ignore" in comment:
            assert re.search(r"type: ignore\[[a-z, -]+\] [#-] ?\S+", comment), comment


def test_ignored_rules_have_a_reason() -> None:
    """Each rule that pyproject.toml turns off has a comment."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for line in re.findall(r'^  "[A-Z]+[0-9]+",.*$', text, re.MULTILINE):
        assert re.search(r"# \S+", line), line


def test_lock_files_pin_hashes_and_name_no_host() -> None:
    """Each pinned package has hashes, and no address of a registry is in a lock file."""
    for name in ("run.txt", "dev.txt", "interop.txt"):
        text = (ROOT / "requirements" / name).read_text("utf-8")
        assert "://" not in text
        assert "index" not in text.replace("charset", "")
        for block in re.split(r"\n(?=[a-z])", text):
            if "==" in block:
                assert "--hash=sha256:" in block, block.splitlines()[0]


def test_run_time_dependencies_are_few() -> None:
    """At most eight packages are needed to run, and SECURITY names each of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = [re.split(r"[^a-z0-9-]", one)[0] for one in project["dependencies"]]
    assert len(names) <= DEPENDENCIES
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    (sentence,) = re.findall(r"Run-time dependencies are few: (.*?)\. ", text, re.DOTALL)
    assert re.findall(r"`(.*?)`", sentence) == names


def test_no_file_names_a_machine() -> None:
    """No tracked file holds an absolute path of somebody's machine."""
    pattern = re.compile(rb"(^|[^A-Za-z0-9_./-])/(work|home|root|opt|Users)/", re.MULTILINE)
    for path in _tracked():
        if path.suffix not in (".cesr", ".png"):
            assert not pattern.search(path.read_bytes().replace(b"(work|home|root", b"")), path
