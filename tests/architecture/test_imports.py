"""Imports point one way: errors, settings, context <- engine <- domains <- flows, ..."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import impact

SOURCE = Path(impact.__file__).parent
# A part may import itself and whatever has a smaller number.
LAYERS = {
    "errors": 0,
    "settings": 0,
    "context": 0,
    "engine": 1,
    "domains": 2,
    "flows": 3,
    "reporting": 3,
    "models": 3,
    "stack": 3,
    "loadtest": 4,
    "ops": 4,
    "openapi": 5,
    "medusa": 6,
    "api": 6,
    "app": 7,
    "cli": 8,
    "__main__": 9,
    "__init__": -1,
}
# What else a part of the same layer may use, and why.
ALLOWED = {
    ("settings", "errors"),  # a setting that is wrong is a ConfigurationError
    ("context", "errors"),
    ("flows", "reporting"),  # an import checks itself against the sales report
}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def part_of(module: str) -> str:
    return module.removeprefix("impact").lstrip(".").partition(".")[0] or "__init__"


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("impact"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "impact":
            assert node.level == 0, f"{path}: relative import"
            if node.module == "impact":
                yield from (f"impact.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def test_every_part_has_its_layer() -> None:
    parts = {part_of("impact." + ".".join(p.relative_to(SOURCE).parts)[:-3]) for p in modules()}
    assert parts <= set(LAYERS)


def test_imports_point_down() -> None:
    wrong = []
    for path in modules():
        own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for module in imports(path):
            other = part_of(module)
            down = LAYERS[other] < LAYERS[own]
            if other != own and not down and (own, other) not in ALLOWED:
                wrong.append(f"{path.relative_to(SOURCE)} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_the_engine_knows_no_commerce() -> None:
    words = ("catalog", "checkout", "product", "customer_", "cart")
    ttl_classes = {"CATALOG", "CART"}  # settings' names for how long classes of data are kept
    found = []
    for path in (SOURCE / "engine").rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - ttl_classes
        found += [f"{path}: {n}" for n in names if any(word in n.lower() for word in words)]
    assert not found


def test_only_the_session_commits() -> None:
    places = [
        path.relative_to(SOURCE)
        for path in modules()
        if any(text in path.read_text() for text in (".commit(", '"COMMIT"', "COMMIT;"))
    ]
    assert places == [Path("engine/db/session.py")]


def test_one_part_knows_opentelemetry() -> None:
    places = [
        str(path.relative_to(SOURCE))
        for path in modules()
        if re.search(r"(import|from) opentelemetry", path.read_text())
        and not path.is_relative_to(SOURCE / "engine" / "telemetry")
    ]
    assert not places


def test_handlers_read_annotations_at_run_time() -> None:
    lazy = [path for path in modules() if "from __future__ import annotations" in path.read_text()]
    assert not lazy


def test_files_hold_one_concept() -> None:
    long = {
        str(path.relative_to(SOURCE)): count
        for path in modules()
        if (count := len(path.read_text().splitlines())) > 450
    }
    assert not long


def test_importing_the_app_opens_nothing() -> None:
    tree = ast.parse((SOURCE / "app.py").read_text())
    calls = [node for node in tree.body if isinstance(node, ast.Expr | ast.Assign)]
    assert all(isinstance(getattr(node, "value", None), ast.Constant) for node in calls)
