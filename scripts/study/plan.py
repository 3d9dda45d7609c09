"""What the study runs: a list of runs for each scale, each a name, its parts and a Config.

Parts, as the page numbers them:

1. the report's four losses under DLStudio's recipe and output layer;
2. the explanation: a few images learned by heart, to see that the floors are met;
3. the same losses with the dense output layer, everything else equal;
4. the report's guesses: class balance, undertraining, model size, the scale of Dice, 0/1 targets;
5. the library's other losses under one budget;
6. the colour leak.

At the report's own size, ``report`` marks its four losses under DLStudio's layers and under dense
ones throughout.
"""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

from configs import quick
from segjax.config import Config
from segjax.errors import ConfigError

# Probabilities of rectangle, triangle, disk, oval, star; the files' are uniform.
BALANCES = {"uniform": (0.2,) * 5, "skewed": (0.6, 0.22, 0.1, 0.05, 0.03)}
GENERATOR_SEED = 20  # of the drawn training scenes; the test scenes take the next

REPORT_LOSSES: dict[str, dict[str, Any]] = {
    "mse": {"loss": "mse"},
    "dice": {"loss": "dice"},
    **{f"combo{s}": {"loss": "combo", "loss_params": {"dice_scale": float(s)}} for s in (20, 400)},
}
# Ranked in part 5. MSE there regresses to 0 and 1; ce reads exclusive classes.
LIBRARY_LOSSES = ("bce", "mse", "dice_prob", "bce_dice", "ce", "focal")


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large the study is."""

    name: str  # as on the command line
    about: str  # the sentence that every table carries
    settings: dict[str, Any]  # of all runs: training images, depth, log interval, ...
    seeds: tuple[int, ...]  # of the groups with a spread; all others use the first
    epochs: int  # of the base runs
    spread_parts: tuple[str, ...] = ("1", "3", "5", "6")  # those whose groups have a spread
    longer: tuple[int, ...] = (2, 4)  # factors of the longer trainings
    dense_throughout: tuple[str, ...] = ("mse",)  # losses trained with dense doublings as well
    depths: tuple[int, ...] = (8, 16)  # of the larger models, beside the base depth
    dice_scales: tuple[float, ...] = (100.0, 4000.0)  # beside MSE, beyond the report's
    losses: tuple[str, ...] = LIBRARY_LOSSES  # of part 5
    generated: tuple[int, int] = (2000, 1000)  # training, test images drawn for class balance
    held_out: int = 1000  # validation images of part 5
    by_heart: tuple[int, int] = (4, 250)  # images and epochs of the runs that learn by heart
    report: bool = False  # its base runs are the report's own size


# By name; what the file does not say is as above.
_TEXT = Path(__file__).with_name("scales.json").read_text(encoding="utf-8")
_GIVEN: Any = json.loads(
    _TEXT, object_hook=lambda of: {k: tuple(v) if isinstance(v, list) else v for k, v in of.items()}
)
SCALES = {name: Scale(name, **given) for name, given in _GIVEN.items()}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    group: str  # what it is, whatever its seed: a row of a table
    parts: tuple[str, ...]  # where it is used
    config: Config  # its settings, without a folder
    order: int  # lower ones come first, so that a study cut short has something everywhere
    checked_epochs: tuple[int, ...] = ()  # after which it is tested too (needs their checkpoints)

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.group}-seed{self.config.seed}"


def dlstudio_recipe(scale: Scale, **changes: Any) -> Config:
    """Return DLStudio's settings at this scale, with ``changes``."""
    base = {"epochs": scale.epochs, "seed": scale.seeds[0], "progress": "off"}
    return Config().replace(**{**scale.settings, **base, **changes})


def library_recipe(scale: Scale, **changes: Any) -> Config:
    """Return configs/quick.py's settings, old colours, at this scale's budget, with ``changes``."""
    budget = {"depth", "train_images", "epochs", "batch_size", "log_steps", "seed", "progress"}
    base = dlstudio_recipe(scale)
    mine: dict[str, Any] = {name: getattr(base, name) for name in budget | scale.settings.keys()}
    mine |= {"augment": "", "val_images": scale.held_out}
    return quick.get_config().replace(**{**mine, **changes})


def runs_of(scale: Scale, *, folder: Path) -> list[Run]:
    """Return a scale's runs in the order in which to run them; drawn data lies in FOLDER/data."""
    found: list[Run] = []

    def add(group: str, parts: str, order: int, *, later: int = 0, **changes: Any) -> None:
        """Add a group: its first seed at ``order``, the others after ``later`` if it is given."""
        recipe = library_recipe if group.startswith("library-") else dlstudio_recipe
        checked, several = changes.pop("checked", ()), later and parts[0] in scale.spread_parts
        for index, seed in enumerate(scale.seeds if several else scale.seeds[:1]):
            config = recipe(scale, **{"seed": seed, **changes})
            when = later + index if index else order
            found.append(Run(group, tuple(parts.split()), config, when, checked))

    heads = ("dlstudio", "dense")
    throughout: dict[str, Any] = {"head": "dense", "upsampling": "dense"}
    # The later seeds of the dense head come first: part 3 is the one that asks for a spread.
    for head, part, later in (("dlstudio", "1", 55), ("dense", "3", 50)):
        for name, loss in REPORT_LOSSES.items():
            parts = f"{part} 4 6" if name == "mse" else f"{part} 4"
            if scale.report and head == "dlstudio":
                parts += " report"
            add(f"{name}-{head}", parts, 0, later=later, head=head, **loss)
    for name in scale.dense_throughout:  # in a small study only MSE's is compared over seeds
        parts = "3 report" if scale.report else "3"
        later = 60 if scale.report or name == "mse" else 0
        add(f"{name}-dense-inside", parts, 6, later=later, **throughout, **REPORT_LOSSES[name])

    images, epochs = scale.by_heart
    few: dict[str, Any] = {"train_images": images, "epochs": epochs, "log_steps": images // 4}
    few |= {"depth": min(4, scale.settings["depth"]), "input_range": "unit"}
    few |= {"optimizer": "adamw", "learning_rate": 1e-2, "schedule": "onecycle"}
    few |= {"upsampling": "dense"}  # only the output layer is to be in the way
    for name in ("mse", "dice", "combo400"):
        add(f"by-heart-{name}-dlstudio", "2", 1, **few, **REPORT_LOSSES[name])
    add("by-heart-mse-dense", "2", 1, **few, head="dense")

    # Under a constant learning rate a longer run passes through the states of shorter ones.
    *passed, most = (factor * scale.epochs for factor in scale.longer)
    longer: dict[str, Any] = {"epochs": most, "keep_checkpoints": most, "checked": tuple(passed)}
    for head in heads:
        add(f"dice-{head}-epochs-x{scale.longer[-1]}", "4", 28, loss="dice", head=head, **longer)
        for depth in scale.depths:
            add(f"mse-{head}-depth{depth}", "4", 14 + depth, head=head, depth=depth)
    for value, head in itertools.product(scale.dice_scales, heads):
        loss = {"loss": "combo", "loss_params": {"dice_scale": value}}
        add(f"combo{value:g}-{head}", "4", 11, head=head, **loss)
    for name in ("mse", "dice", "combo20"):
        add(f"{name}-dense-unit", "4", 10, head="dense", targets="unit", **REPORT_LOSSES[name])
    add("dice-dlstudio-unit", "4", 10, targets="unit", loss="dice")
    for balance in BALANCES:
        splits = ("train", "test")
        files = {f"{split}_file": str(balance_file(folder, balance, split)) for split in splits}
        drawn: dict[str, Any] = {"data": "purdue", "train_images": 0, "head": "dense", **files}
        for name in ("mse", "combo400"):
            add(f"{name}-dense-{balance}", "4", 13, **drawn, **REPORT_LOSSES[name])

    for name in scale.losses:
        targets: dict[str, Any] = {"targets": "unit"} if name == "mse" else {}
        parts = "5 6" if name == "bce" else "5"
        add(f"library-{name}", parts, 5, later=70, loss=name, **targets)
    add("library-bce-recolour", "6", 7, later=65, loss="bce", augment="recolour")
    add("mse-dense-recolour", "6", 7, head="dense", augment="recolour")

    names = [run.name for run in found]
    if len(set(names)) != len(found):
        raise ConfigError(f"two runs of the study have one name: {sorted(names)}")
    return sorted(found, key=lambda run: run.order)


def balance_file(folder: Path, balance: str, split: str) -> Path:
    """Return where drawn scenes of a class balance lie."""
    return folder / "data" / f"{balance}-{split}.gz"


def train_images_of(scale: Scale, config: Config) -> int:
    """Return how many images a run trains on, by its settings alone."""
    whole = 10000 if config.train_file.endswith("-10000-train.gz") else scale.generated[0]
    return config.train_images or whole - config.val_images


def cost_of(scale: Scale, run: Run) -> float:
    """Return about how long a run takes, in steps of 4 images at depth 4.

    A step's time is linear in the depth; the constant is the layers that every depth has. A run
    adds its start, its test and its figures.
    """
    size = run.config.batch_size
    images = run.config.epochs * (train_images_of(scale, run.config) // size) * size
    return images / 4 * (run.config.depth + 2.3) / 6.3 + 200
