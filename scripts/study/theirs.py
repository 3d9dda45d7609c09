"""DLStudio's own training function at the report's own size, MSE, on PyTorch.

    python -m scripts.study.theirs

Its network, loop, loss and optimizer are DLStudio's; the images come from segjax's reader, drawn in
an order of their own. It saves every 500 steps and goes on from there after any stop. Its record
lies beside those of segjax's runs, with scores by the same measures. Needs
``pip install -e '.[parity,study]' && pip install --no-deps DLStudio==2.3.6``.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from scripts.docs.markdown import ROOT
from scripts.study.measure import keep_measures
from scripts.study.plan import SCALES, Run, dlstudio_recipe
from scripts.study.record import keep_record
from scripts.study.report import PYTORCH
from segjax.config import Config
from segjax.data.splits import load_splits
from segjax.dlstudio.__main__ import import_run
from segjax.files import write_text
from segjax.predict.trained import load_trained
from segjax.runs.folder import CONFIG_FILE, METRICS_FILE, RunFolder
from segjax.training import backend
from segjax.training.evaluate import scores_of
from segjax.training.program import make_program
from segjax.training.results import environment

SAVED = "saved_model"


class Training:
    """What a training holds, saved as it goes: DLStudio's function is given pieces of it."""

    def __init__(self, folder: Path, config: Config) -> None:
        import torch

        from tests.parity.stand_ins import load_dlstudio

        self.torch, self.folder, self.config = torch, folder.resolve(), config
        self.file = self.folder / "training.pt"
        self.segmentation = load_dlstudio().SemanticSegmentation
        self.data = load_splits(config, say=lambda line: None).train
        torch.manual_seed(config.seed)
        self.net = self.segmentation.mUnet(skip_connections=True, depth=config.depth)
        self.net.__deepcopy__ = lambda memo: self.net  # DLStudio trains a copy: let it be this one
        self.losses: list[float] = []
        self.seconds, self.saved = 0.0, {}
        self.optimizer: Any = None
        if self.file.exists():
            self.saved = torch.load(self.file)
            self.net.load_state_dict(self.saved["net"])
            self.losses, self.seconds = self.saved["losses"], self.saved["seconds"]
        self.started = time.perf_counter() - self.seconds

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the batches of an epoch, those of the first from where it was saved."""
        size, none = self.config.batch_size, self.torch.zeros(0)
        epoch, done = divmod(len(self.losses), len(self.data) // size)
        order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.data))
        for rows in order[: len(order) // size * size].reshape(-1, size)[done:]:
            images, masks = (
                self.torch.from_numpy(array[rows].transpose(0, 3, 1, 2).copy())
                for array in (self.data.images, self.data.masks)
            )
            yield {"image": images.float(), "mask_tensor": masks, "bbox_tensor": none}
            if len(self.losses) % self.config.log_steps == 0:
                self.save()

    def save(self) -> None:
        """Save all of it, and say how far it is."""
        self.seconds = time.perf_counter() - self.started
        found = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        found |= {"losses": self.losses, "seconds": self.seconds}
        self.torch.save(found, self.file.with_suffix(".new"))
        os.replace(self.file.with_suffix(".new"), self.file)
        mean = np.mean(self.losses[-self.config.log_steps :])
        print(f"step {len(self.losses)}: {mean:.1f}, {self.seconds:.0f} s", flush=True)

    def run(self) -> None:
        """Let DLStudio train what is left, with an optimizer and a criterion that can be saved."""
        sgd, criterion = self.torch.optim.SGD, self.torch.nn.MSELoss()

        def resumed(parameters: Any, **settings: Any) -> Any:
            self.optimizer = sgd(parameters, **settings)
            if self.saved:
                self.optimizer.load_state_dict(self.saved["optimizer"])
            return self.optimizer

        def noted(outputs: Any, masks: Any) -> Any:
            found = criterion(outputs, masks)
            self.losses.append(found.item())
            return found

        config, epoch = self.config, len(self.data) // self.config.batch_size
        if not (left := config.epochs - len(self.losses) // epoch):
            return
        settings = {name: getattr(config, name) for name in ("learning_rate", "momentum")}
        settings |= {"epochs": left, "device": self.torch.device("cpu")}
        studio = SimpleNamespace(**settings, path_saved_model=str(self.folder / SAVED))
        segmenter = self.segmentation(studio, 5)
        segmenter.train_dataloader = self
        with (
            mock.patch("torch.optim.SGD", resumed),
            mock.patch("torch.nn.MSELoss", return_value=noted),
            contextlib.chdir(self.folder),  # it leaves a file of losses there
        ):
            segmenter.run_code_for_training_for_semantic_segmentation(self.net)
        self.save()


def test_and_record(training: Training, records: Path) -> None:
    """Test the network as segjax's runs are tested, and write the record."""
    config, folder = training.config, training.folder / f"{PYTORCH}-seed{training.config.seed}"
    if not (folder / CONFIG_FILE).exists():
        import_run(training.folder / SAVED, folder)
    splits = load_splits(config, say=lambda line: None)
    program, trained = make_program(config, splits), load_trained(folder)
    tested = program.evaluate(trained.variables, program.place(splits.test))
    scores = {name: scores_of(counts) for name, counts in tested.counts.items()}
    about = environment()
    about["versions"] |= {name: version(name) for name in ("torch", "DLStudio")}
    results = {
        "config": config.to_dict(),
        "steps": len(training.losses),
        "train_seconds": round(training.seconds, 3),
        "environment": about,
        "test": {"images": len(splits.test), "loss": tested.loss, **scores},
    }
    RunFolder(folder).write_results(results)
    lines = map(json.dumps, means_of(training.losses, config.log_steps))
    write_text(folder / METRICS_FILE, "".join(f"{line}\n" for line in lines))
    keep_measures(folder, Run(PYTORCH, ("1", "report"), config, 0))
    keep_record(folder, records / f"{folder.name}.json")


def means_of(losses: Sequence[float], every: int) -> Iterator[dict[str, Any]]:
    """Yield losses as a run's log has them: means of ``every``."""
    for at in range(0, len(losses), every):
        found = losses[at : at + every]
        mean = {"loss": float(np.mean(found)), "mean_over": len(found)}
        yield {"kind": "train", "step": at + len(found), **mean}


def main() -> int:
    """Train what is left, then test and record it."""
    told = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser("python -m scripts.study.theirs", description=told)
    parser.add_argument("--runs", type=Path, default=Path("runs/study"), help="folder of the runs")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where its record goes")
    given = parser.parse_args()
    backend.keep_memory()
    folder = given.runs / "full" / "pytorch"
    folder.mkdir(parents=True, exist_ok=True)
    training = Training(folder, dlstudio_recipe(SCALES["full"]))
    training.run()
    test_and_record(training, given.docs / "results" / "full")
    return 0


if __name__ == "__main__":
    sys.exit(main())
