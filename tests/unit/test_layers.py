"""The layers of the package: who may import whom, and what only adapters may import."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import slurm_powersave

PACKAGE = Path(slurm_powersave.__file__).parent
NAME = "slurm_powersave"

_COMMANDS = {"model", "config", "decide", "ports", "engine", "commands"}
MAY_IMPORT = {
    "model": {"model"},
    "config": {"model", "config"},
    "decide": {"model", "config", "decide"},
    "ports": {"model", "config", "decide", "ports"},
    "adapters": {"model", "config", "decide", "ports", "adapters"},
    "engine": {"model", "config", "decide", "ports", "engine"},
    "commands": _COMMANDS,
    "wiring": {"model", "config", "decide", "ports", "adapters", "wiring"},
    "surfaces": _COMMANDS | {"surfaces"},
    "testing": {"model", "config", "decide", "ports", "adapters", "engine", "wiring", "testing"},
}
"""Each layer imports from those above it. `testing` drives the real engine; nothing imports it."""
MAKES_THE_SITE = "slurm_powersave.surfaces.cli.session"
"""The only module that imports the wiring; it hands the site on."""

NO_OUTSIDE_WORLD = {
    "subprocess",
    "sqlite3",
    "socket",
    "socketserver",
    "http",
    "urllib",
    "openstack",
    "ansible_runner",
}
"""What only adapters may import."""
PURE = ("model", "decide", "ports")
NO_SIDE_EFFECTS = NO_OUTSIDE_WORLD | {"fcntl", "signal", "tempfile", "shutil"}
"""What the pure layers may not import either."""
ONLY_A_TYPE = {("slurm_powersave.ports.processes", "signal")}
"""Imported for the type of a parameter; nothing of it is called."""
TOUCHES = {"open", "sleep", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir"}
"""Functions and methods that read files, write them or wait."""
READS_OUR_TABLES = {"slurm_powersave.decide.preflight.slurm_conf_look"}
"""Reads the tables of Slurm's keys, which are part of the package."""
LONGEST_MODULE = 400
CHECKOUT = Path(__file__).resolve().parents[2]
BESIDE_THE_PACKAGE = [
    path
    for top in ("tests", "roles", "callback_plugins", "demo", "tools")
    for path in sorted((CHECKOUT / top).rglob("*.py"))
]
"""What else is ours: it stays as short."""


def modules() -> dict[str, Path]:
    """Map dotted names to files."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(module: str) -> Iterator[tuple[str, int]]:
    """Name everything that a module imports, wherever in its text, with the line."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield (whole if whole in MODULES else base), node.lineno


def layer(module: str) -> str:
    """Name the layer of one of our modules; empty for the package itself."""
    return [*module.split("."), ""][1]


def is_ours(module: str) -> bool:
    """Tell whether a module belongs to the package."""
    return module == NAME or module.startswith(f"{NAME}.")


def allowed(module: str, name: str) -> bool:
    """Tell whether one of our modules may import another one."""
    own, other = layer(module), layer(name)
    if other == "wiring" and module == MAKES_THE_SITE:
        return True
    return not other or other in MAY_IMPORT[own]


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_from_the_layers_above(module: str) -> None:
    own = layer(module)
    assert own == "" or own in MAY_IMPORT, f"{module} is in no layer (docs/explanation/architecture.md)"
    wrong = [
        f"{MODULES[module]}:{line} imports {name}"
        for name, line in imports(module)
        if own and is_ours(name) and not allowed(module, name)
    ]
    assert not wrong


@pytest.mark.parametrize("module", MODULES)
def test_only_adapters_touch_the_outside_world(module: str) -> None:
    if layer(module) == "adapters":
        return
    forbidden = NO_SIDE_EFFECTS if layer(module) in PURE else NO_OUTSIDE_WORLD
    wrong = [
        f"{MODULES[module]}:{line} imports {name}"
        for name, line in imports(module)
        if name.split(".")[0] in forbidden and (module, name) not in ONLY_A_TYPE
    ]
    assert not wrong


@pytest.mark.parametrize("module", [name for name in MODULES if layer(name) in PURE])
def test_what_decides_neither_reads_files_nor_waits(module: str) -> None:
    calls = [node for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.Call)]
    wrong = [
        f"{MODULES[module]}:{call.lineno} calls {name}"
        for call in calls
        if (name := getattr(call.func, "attr", "") or getattr(call.func, "id", "")) in TOUCHES
        and module not in READS_OUR_TABLES
    ]
    assert not wrong


def test_terraforms_state_is_known_by_name_in_one_module() -> None:
    known = {module for module, path in MODULES.items() if "terraform.tfstate" in path.read_text()}
    assert known == {"slurm_powersave.adapters.terraform.state_file"}


def test_no_import_cycles() -> None:
    edges = {
        module: {name for name, _ in imports(module) if is_ours(name) and name != NAME} for module in MODULES
    }
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for name in edges.get(module, ()):
                walk(name, (*way, module))
            done.add(module)

    for module in MODULES:
        walk(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_modules_stay_short(module: str) -> None:
    lines = len(MODULES[module].read_text().splitlines())
    assert lines <= LONGEST_MODULE, f"{MODULES[module]} has {lines} lines: split it by what it does"


def test_what_is_beside_the_package_stays_short() -> None:
    lines = {str(path): len(path.read_text().splitlines()) for path in BESIDE_THE_PACKAGE}
    assert not {path: many for path, many in lines.items() if many > LONGEST_MODULE}
