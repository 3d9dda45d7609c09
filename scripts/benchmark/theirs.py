"""DLStudio's side of the benchmark, on PyTorch. Needs the extra [parity] and DLStudio itself."""

import contextlib
import functools
import gzip
import os
import pickle
import tempfile
import time
import timeit
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from scripts.benchmark import worker
from scripts.benchmark.worker import Answer

STARTED = time.perf_counter()
MODES = ("eager", "compile")
built: dict[str, Any] = {}


@functools.cache
def build(depth: int, batch: int, dtype: str, mode: str) -> Answer:
    """Build a training step and a forward pass; return the seconds of the first step.

    ``mode``: 'eager' does what DLStudio's loop does, a copy of each batch to the device and a look
    at each loss among it; 'compile' keeps the data on the device, as segjax does, and compiles.
    """
    import torch

    from tests.parity.stand_ins import load_dlstudio

    cuda = torch.cuda.is_available()
    device = torch.device("cuda:0" if cuda else "cpu")
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0)
    net = load_dlstudio().SemanticSegmentation.mUnet(skip_connections=True, depth=depth).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=worker.LEARNING_RATE, momentum=worker.MOMENTUM)
    criterion = torch.nn.MSELoss()
    run: Any = net
    images, masks = (
        torch.from_numpy(a.transpose(0, 3, 1, 2).copy()) for a in worker.scenes(max(256, batch))
    )
    if mode == "compile":
        run = torch.compile(net, mode="reduce-overhead" if cuda else "default")
        images, masks = images.to(device), masks.to(device)
    cast = torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16")

    def drawn(*arrays: Any) -> list[Any]:
        at = torch.randint(0, len(images), (batch,), device=images.device)
        return [array[at].to(device).float() for array in arrays]

    def step() -> None:
        x, y = drawn(images, masks)
        optimizer.zero_grad()
        with cast:
            loss = criterion(run(x), y)
        loss.backward()
        optimizer.step()
        if mode == "eager":
            loss.item()

    def forward() -> None:
        [x] = drawn(images)
        with torch.no_grad(), cast:
            run(x)

    def several(call: Any, calls: int) -> None:
        for _ in range(calls):
            call()
        if cuda:
            torch.cuda.synchronize()

    per_call = 50 if cuda else 1
    first = timeit.timeit(lambda: several(step, 1), number=1)
    for call in (step, forward, step, forward):
        several(call, 1)
    built.update(per_call=per_call, step=lambda: several(step, per_call))
    built.update(forward=lambda: several(forward, per_call))
    return {"first_step": first}


def measure(kind: str, count: int) -> Answer:
    """Return seconds a step, one number a call, and the process's peak memory."""
    import torch

    found = worker.clocked(built[kind], count, built["per_call"])
    most = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return found | {"device_bytes": most}


def load(file: str) -> Answer:
    """Load a data file as DLStudio does at first."""
    started = time.perf_counter()
    with gzip.open(file, "rb") as opened:
        dataset, _ = pickle.loads(opened.read(), encoding="latin1")  # the fetched, hashed file
    len(dataset)
    return {"seconds": time.perf_counter() - started, "peak_bytes": worker.peak_bytes()}


def whole_job(train_file: str, depth: int, batch: int) -> Answer:
    """Run DLStudio's own data set class, loader and training function for one epoch."""
    import torch

    from tests.parity.stand_ins import load_dlstudio

    segmentation = load_dlstudio().SemanticSegmentation
    path = Path(train_file)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        where = {"dataroot": f"{path.parent}{os.sep}", "path_saved_model": f"{folder}/saved_model"}
        size = {"image_size": [64, 64], "batch_size": batch, "epochs": 1}
        rates = {"learning_rate": worker.LEARNING_RATE, "momentum": worker.MOMENTUM}
        device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
        studio = SimpleNamespace(**where, **size, **rates, device=device)
        segmenter = segmentation(studio, 5)
        data = segmentation.PurdueShapes5MultiObjectDataset(studio, segmenter, "train", path.name)
        fork = "fork" if os.name == "posix" else None  # as in any script; this process was spawned
        segmenter.train_dataloader = torch.utils.data.DataLoader(
            data, batch_size=batch, shuffle=True, num_workers=4, multiprocessing_context=fork
        )
        net = segmentation.mUnet(skip_connections=True, depth=depth)
        segmenter.run_code_for_training_for_semantic_segmentation(net)
        seconds, steps = time.perf_counter() - STARTED, len(segmenter.train_dataloader)
    return {"seconds": seconds, "steps": steps, "peak_bytes": worker.peak_bytes()}
