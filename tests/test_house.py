"""The rules of this tree, as far as a script can check them."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("zero1a_jax", "experiments")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
# Written in parts, so that this file does not find itself.
FORBIDDEN = tuple(
    re.compile(pattern)
    for pattern in (
        r"/" + r"(?:work|root|tmp|home)/",
        r"(?i)\bTO" + r"DO\b|\bFIX" + r"ME\b|\bX" + r"XX\b",
        r"NotImpl" + r"emented",
        r"except\s*(?:Exception|BaseException)?\s*:" + r"\s*\n\s*(?:pass|continue|\.\.\.)\s*\n",
        r"(?i)allow_pickle\s*=\s*T" + r"rue",
        r"from jax\.random import PRNG" + r"Key|jax\.random\.PRNG" + r"Key",
    )
)
MAX_LINES, MAX_FUNCTION, MAX_POSITIONAL = 400, 80, 6


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def _functions(tree: ast.AST):
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def _public(tree: ast.Module):
    """Top-level public functions and classes, and the public methods of public classes."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node.name, node
            bases = {ast.unparse(base).split(".")[-1] for base in getattr(node, "bases", ())}
            # A Protocol's members only name what its docstring describes.
            if isinstance(node, ast.ClassDef) and "Protocol" not in bases:
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                        yield f"{node.name}.{inner.name}", inner


def test_there_is_something_to_check():
    assert len(SOURCES) > 30


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=_name)
def test_size(path):
    lines = path.read_text("utf-8").count("\n")
    assert lines < MAX_LINES, f"{lines} lines; split the file by idea"
    long = [(f.name, f.end_lineno - f.lineno + 1) for f in _functions(_tree(path))]
    assert [entry for entry in long if entry[1] >= MAX_FUNCTION] == []


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_docstrings(path):
    tree = _tree(path)
    if tree.body:
        assert ast.get_docstring(tree), "the file has no docstring that says what it is for"
    # A module's __call__ and setup are flax's protocol; what they do stands in the class.
    missing = [n for n, node in _public(tree) if not ast.get_docstring(node) and not n.endswith(".setup")]
    assert missing == []


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_signatures(path):
    """Types on public functions; options by keyword, so that calls read well and orders can change."""
    wrong = []
    for name, node in _public(_tree(path)):
        if not isinstance(node, ast.FunctionDef):
            continue
        positional = [*node.args.posonlyargs, *node.args.args]
        if positional and positional[0].arg in ("self", "cls"):
            positional = positional[1:]
        everyone = [*positional, *node.args.kwonlyargs]
        if any(argument.annotation is None for argument in everyone):
            wrong.append(f"{name}: an argument has no type")
        if node.returns is None:
            wrong.append(f"{name}: no return type")
        if len(positional) > MAX_POSITIONAL:
            wrong.append(f"{name}: {len(positional)} positional arguments; put options after *")
        flags = [d for d in node.args.defaults if isinstance(d, ast.Constant) and isinstance(d.value, bool)]
        if len(flags) > 1:
            wrong.append(f"{name}: several positional switches; put them after *")
    assert wrong == []


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:  # an unpacked archive has no git; then everything outside hidden folders counts
        every = [p for p in ROOT.rglob("*") if p.is_file()]
        return [p for p in every if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def test_forbidden_text():
    suffixes = {".py", ".md", ".toml", ".yaml", ".flags", ".txt", ".cfg", ""}
    found = []
    for path in _tracked():
        if path.suffix not in suffixes or "fixtures" in path.parts or path == Path(__file__).resolve():
            continue
        if path.name in ("LICENSE", "constraints.txt"):
            continue
        text = path.read_text("utf-8")
        found += [f"{_name(path)}: {m.group(0)!r}" for pattern in FORBIDDEN for m in pattern.finditer(text)]
    assert found == []


def test_tree_is_small():
    sizes = {path: path.stat().st_size for path in _tracked()}
    assert sum(sizes.values()) < 60e6, "the tracked tree must stay under 60 MB"
    assets = sum(size for path, size in sizes.items() if (ROOT / "zero1a_jax" / "assets") in path.parents)
    assert assets <= 24e6, "shipped weights must stay within 24 MB"
    fixtures = sum(size for path, size in sizes.items() if (ROOT / "tests" / "fixtures") in path.parents)
    assert fixtures <= 10e6, "copied fixtures must stay within 10 MB"


def test_types_import_little():
    tree = _tree(ROOT / "zero1a_jax" / "types.py")
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert names <= {"__future__", "typing", "jax", "numpy", "flax"}


def test_types_are_frozen_pytrees():
    import jax

    from zero1a_jax import types

    classes = [c for _, c in inspect.getmembers(types, inspect.isclass) if c.__module__ == types.__name__]
    assert len(classes) >= 10
    for cls in classes:
        assert cls.__dataclass_params__.frozen, f"{cls.__name__} is not frozen"
        instance = object.__new__(cls)
        for name in cls.__dataclass_fields__:
            object.__setattr__(instance, name, 0)
        assert jax.tree.leaves(instance), f"{cls.__name__} is no pytree"


@pytest.mark.parametrize("path", sorted((ROOT / "third_party" / "manifests").glob("*.toml")), ids=_name)
def test_manifests(path):
    manifest = tomllib.loads(path.read_text("utf-8"))
    needed = ("name", "version", "licence", "commercial_use", "citation", "schema", "files")
    assert [key for key in needed if not manifest.get(key) and manifest.get(key) is not False] == []
    assert manifest["commercial_use"] in ("yes", "no", "unclear")
    assert "url" in manifest or "manual" in manifest
    for file in manifest["files"]:
        assert file["name"]
        assert re.fullmatch(r"[0-9a-f]{64}|unknown", file["sha256"])
        assert file["bytes"] == "unknown" or file["bytes"] > 0


def test_third_party_holds_no_data():
    allowed = {".toml", ".md"}
    kept = [p for p in _tracked() if (ROOT / "third_party") in p.parents]
    assert [p for p in kept if p.suffix not in allowed] == []


def test_every_package_is_installed():
    """An installed copy holds each package of the library, the commands and the manifests."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    found = [path.parent.relative_to(ROOT) for path in (ROOT / "zero1a_jax").rglob("__init__.py")]
    extra = ["zero1a_jax.experiments", "zero1a_jax.manifests"]
    assert sorted(listed) == sorted([*(".".join(path.parts) for path in found), *extra])


def test_makefile_has_the_two_commands():
    text = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^quickstart:", text, re.M) and re.search(r"^test:", text, re.M)


def test_readme_opens_with_the_two_commands():
    opening = "\n".join((ROOT / "README.md").read_text("utf-8").splitlines()[:20])
    assert "make quickstart" in opening and "make test" in opening
