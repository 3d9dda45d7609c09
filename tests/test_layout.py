"""The house stands: rooms import lower floors only, no circle between files, light doors."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Rooms by floor, lowest first. A module belongs to the longest name that it begins with.
FLOORS = (
    "errors files classes dlstudio.layout",
    "settings loss_table augment_table checks config",  # each may import those before it
    "data.dataset data.places losses metrics networks plots runs",
    "data.purdue data.own",
    "data",
    "data.check training",
    "predict dlstudio",
    "export evaluate interop main show __main__",
)
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


def walk(node, *, into_functions):
    """Yield the nodes that run: all, or only those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        later = isinstance(child, ast.FunctionDef | ast.Lambda)
        if not for_types and (into_functions or not later):
            yield child
            yield from walk(child, into_functions=into_functions)


@functools.cache
def imports_of(name, *, into_functions=True):
    """Return what a module imports, itself aside."""
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    nodes = walk(tree, into_functions=into_functions)
    return frozenset(other for node in nodes for other in imported(node)) - {name}


PLACE_OF = {"segjax": (0, 0)} | {
    f"segjax.{room}": (number, place * (number == 1))
    for number, rooms in enumerate(FLOORS)
    for place, room in enumerate(rooms.split())
}


def room_of(name):
    return max((room for room in PLACE_OF if f"{name}.".startswith(f"{room}.")), key=len)


def test_every_module_has_a_room_and_can_be_read_in_one_sitting():
    assert len(FLOORS) <= MOST_FLOORS
    assert PLACE_OF.keys() <= FILES.keys(), "a room that is no more"
    homeless = {name for name in FILES if room_of(name) == "segjax" and name != "segjax"}
    assert not homeless, "list them in FLOORS"
    assert len(list((ROOT / "segjax").glob("*.py"))) <= MOST_AT_TOP
    lines = {name: len(file.read_text("utf-8").splitlines()) for name, file in FILES.items()}
    assert not {name: count for name, count in lines.items() if count > MOST_LINES}


def test_rooms_import_lower_floors_only_and_no_file_itself_by_way_of_others():
    ours = {name: imports_of(name) & FILES.keys() for name in FILES}
    for name, others in ours.items():
        for there in {room_of(other) for other in others} - {room_of(name)}:
            assert PLACE_OF[there] < PLACE_OF[room_of(name)], f"{name} imports {there}"
    graphlib.TopologicalSorter(ours).prepare()  # CycleError


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


NOT_TO_PREDICT = "torch onnx safetensors matplotlib tqdm scipy.ndimage segjax.training.trainer"
LIGHT = {
    module: set(banned.split())
    for modules, banned in (
        ("segjax segjax.config segjax.main segjax.show", "jax numpy"),
        ("segjax.predict.__main__ segjax.export.__main__", "jax numpy"),
        ("segjax.evaluate.__main__ segjax.data.fetch", "jax numpy"),
        ("segjax.data.check.__main__ segjax.dlstudio.__main__", "jax numpy PIL tqdm"),
        ("segjax.data", "jax flax"),
        ("segjax.losses segjax.metrics", "flax optax orbax matplotlib scipy.ndimage"),
        ("segjax.plots", "jax flax matplotlib.pyplot"),
        ("segjax.training.run", "torch tensorboardX"),
        ("segjax.predict.predictor", NOT_TO_PREDICT),
    )
    for module in modules.split()
}


@pytest.mark.parametrize("module", LIGHT)
def test_importing_a_part_stays_light(module):
    packages = {name.split(".")[0] for name in loaded_by(module)} | loaded_by(module)
    assert not LIGHT[module] & packages
    if module in ("segjax.main", "segjax.predict.predictor"):  # held against Python itself
        command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        loaded = set(done.stdout.split())
        assert loaded & FILES.keys() == loaded_by(module) & FILES.keys()
        assert not LIGHT[module] & loaded


def test_the_map_shows_the_house_as_it_is():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for named in re.findall(r"`((?:segjax|scripts|tests)/[\w/.]+)`", text):
        assert (ROOT / named).exists(), named
    table = text[text.index("| floor |") : text.index("`scripts/` makes")]
    cells = " ".join(line.split("|")[2] for line in table.splitlines() if line)
    shown = {name.strip("/").replace("/", ".") for name in re.findall(r"`([\w/]+)`", cells)}
    assert {f"segjax.{name}" for name in shown} == PLACE_OF.keys() - {"segjax", "segjax.interop"}
