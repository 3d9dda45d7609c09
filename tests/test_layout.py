"""The house stands: rooms import lower floors only, no circle between files, light doors."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Rooms by floor, lowest first. A module belongs to the longest name that it begins with.
FLOORS = (
    {"segjax.errors", "segjax.files", "segjax.purdue", "segjax.colours", "segjax"},
    {"segjax.settings", "segjax.loss_table", "segjax.augment_table", "segjax.checks"}
    | {"segjax.config"},
    {"segjax.data.dataset", "segjax.data.places"}
    | {"segjax.losses", "segjax.metrics", "segjax.networks", "segjax.plots", "segjax.runs"},
    {"segjax.data.purdue", "segjax.data.own"},
    {"segjax.data"},
    {"segjax.data.check", "segjax.training"},
    {"segjax.predict", "segjax.dlstudio"},
    {"segjax.export", "segjax.interop", "segjax.main", "segjax.show"},
)
# Modules of the lowest two floors are rooms of one file each, in this order.
SETTINGS = ("settings", "loss_table", "augment_table", "checks", "config")
MOST_FLOORS, MOST_AT_TOP, MOST_LINES = 8, 12, 400


def module_of(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for file in sorted((ROOT / "segjax").rglob("*.py"))}


def imported(node):
    """Yield the modules that an import statement names, as files of ours or as packages."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in FILES else node.module


def for_types_only(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def walk(node, *, into_functions):
    """Yield the nodes that run: all, or only those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if for_types_only(child):
            continue
        if not into_functions and isinstance(child, ast.FunctionDef | ast.Lambda):
            continue
        yield child
        yield from walk(child, into_functions=into_functions)


@functools.cache
def imports_of(name, *, into_functions=True):
    """Return what a module imports, itself aside."""
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    nodes = walk(tree, into_functions=into_functions)
    return frozenset(other for node in nodes for other in imported(node)) - {name}


FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(name):
    return max((room for room in FLOOR_OF if f"{name}.".startswith(f"{room}.")), key=len)


def test_every_module_has_a_room():
    assert len(FLOORS) <= MOST_FLOORS
    assert FLOOR_OF.keys() <= FILES.keys(), "a room that is no more"
    homeless = {name for name in FILES if room_of(name) == "segjax" and name != "segjax"}
    assert not homeless, "list them in FLOORS"
    assert len(list((ROOT / "segjax").glob("*.py"))) <= MOST_AT_TOP


@pytest.mark.parametrize("name", FILES)
def test_rooms_import_lower_floors_only(name):
    room = room_of(name)
    for other in sorted(imports_of(name) & FILES.keys()):
        there = room_of(other)
        if there == room:
            continue
        places = [FLOOR_OF[there], FLOOR_OF[room]]
        if places == [1, 1]:
            places = [SETTINGS.index(one.rpartition(".")[2]) for one in (there, room)]
        assert places[0] < places[1], f"{name} imports {other}"


def test_no_circle_between_files():
    done, path = set(), []

    def visit(name):
        assert name not in path, f"a circle: {' -> '.join([*path[path.index(name) :], name])}"
        if name in done:
            return
        path.append(name)
        for other in sorted(imports_of(name) & FILES.keys()):
            visit(other)
        done.add(path.pop())

    for name in FILES:
        visit(name)


def test_files_can_be_read_in_one_sitting():
    lines = {name: len(file.read_text("utf-8").splitlines()) for name, file in FILES.items()}
    assert not {name: count for name, count in lines.items() if count > MOST_LINES}


@functools.cache
def loaded_by(name):
    """Return all modules that importing one loads, by what the files say."""
    found, todo = set(), [name]
    while todo:
        name = todo.pop()
        if name not in found and name in FILES:
            todo += imports_of(name, into_functions=False)
            todo += [name.rpartition(".")[0]] if "." in name else []
        found.add(name)
    return found


LIGHT = [
    ("segjax", {"jax", "numpy"}),
    ("segjax.config", {"jax", "numpy"}),
    ("segjax.main", {"jax", "numpy"}),
    ("segjax.show", {"jax", "numpy"}),
    ("segjax.predict.__main__", {"jax", "numpy"}),
    ("segjax.export.__main__", {"jax", "numpy"}),
    ("segjax.data", {"jax", "flax"}),
    ("segjax.losses", {"flax", "optax", "orbax", "matplotlib", "scipy.ndimage"}),
    ("segjax.metrics", {"flax", "optax", "orbax", "matplotlib", "scipy.ndimage"}),
    ("segjax.plots", {"jax", "flax", "matplotlib.pyplot"}),
    ("segjax.training.run", {"torch", "tensorboardX"}),
    (
        "segjax.predict.predictor",
        {"torch", "onnx", "safetensors", "matplotlib", "tqdm"}
        | {"scipy.ndimage", "segjax.training.trainer"},
    ),
]


@pytest.mark.parametrize(("module", "banned"), LIGHT)
def test_importing_a_part_stays_light(module, banned):
    packages = {name.split(".")[0] for name in loaded_by(module)} | loaded_by(module)
    assert not banned & packages


@pytest.mark.parametrize("module", ["segjax.main", "segjax.predict.predictor"])
def test_the_files_say_what_an_import_loads(module):
    """The walk over the files, held against Python itself."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert loaded & FILES.keys() == loaded_by(module) & FILES.keys()
    (banned,) = [names for name, names in LIGHT if name == module]
    assert not banned & loaded


def test_the_map_shows_the_house_as_it_is():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for named in re.findall(r"`((?:segjax|scripts|tests)/[\w/.]+)`", text):
        assert (ROOT / named).exists(), named
    table = text[text.index("| floor |") : text.index("`scripts/` makes")]
    cells = " ".join(line.split("|")[2] for line in table.splitlines() if line)
    shown = {name.strip("/").replace("/", ".") for name in re.findall(r"`([\w/]+)`", cells)}
    assert {f"segjax.{name}" for name in shown} == FLOOR_OF.keys() - {"segjax", "segjax.interop"}
