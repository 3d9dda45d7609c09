"""The checkpoints of one run: save, keep the last and the best, restore the newest good one."""

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from segjax.errors import CheckpointError, Say, one_line, to_stderr
from segjax.runs import leaves, storage

Which = int | Literal["newest", "best"]
Manifest = dict[str, Any]


class Restored(NamedTuple):
    """A state with its meta and its step."""

    state: Any
    meta: dict[str, Any]
    step: int


class Checkpoints:
    """The checkpoints in one folder, which belongs to one run and one process at a time.

    Args:
      folder: made by the first save.
      keep: how many of the newest steps are kept; the best one is kept besides.
      notify: gets one line for each damaged step or leftover; by default it goes to stderr.

    Raises:
      CheckpointError: keep is less than 1.
    """

    def __init__(self, folder: str | Path, *, keep: int = 2, notify: Say = to_stderr) -> None:
        if keep < 1:
            raise CheckpointError(f"keep={keep}: at least one checkpoint has to be kept")
        self.folder, self.keep, self._notify = Path(folder).absolute(), keep, notify
        self._damaged: set[Path] = set()  # what a restore has named

    def save(
        self, step: int, state: Any, meta: Mapping[str, Any], *, best_score: float | None = None
    ) -> Path:
        """Save a state and return when it is on the disk and would survive a kill or power cut.

        Args:
          step: 0 or more; a step saved again replaces the earlier one.
          state: any pytree of arrays, typed PRNG keys and Python numbers.
          meta: what JSON can hold; tuples come back as lists.
          best_score: higher is better, the first of equals stays best, NaN never is; None keeps
            the score that the step may have from an earlier save.

        Returns:
          The step's folder.

        Raises:
          CheckpointError: the state or meta cannot be stored, or the disk refuses.
        """
        if isinstance(step, bool) or step != int(step) or step < 0:
            raise CheckpointError(f"step={step!r}: it has to be a whole number, 0 or more")
        step = int(step)
        found = {n: leaves.to_host(n, leaf) for n, leaf in leaves.named_leaves(state).items()}
        if not found:
            raise CheckpointError("the state has no arrays: there is nothing to save")
        manifest = {
            "score": None if best_score is None else float(best_score),
            "meta": _plain(meta, "meta"),
            "arrays": {name: entry for name, (_, entry) in found.items()},
        }
        try:
            for leftover in storage.leftovers(self.folder):
                storage.remove(leftover)
            if best_score is None:
                scores = {folder.step: earlier["score"] for folder, earlier in self._whole()}
                manifest["score"] = scores.get(step)
            values = {name: value for name, (value, _) in found.items()}
            path = storage.write(self.folder, step, values, manifest)
            self._tidy()
        except Exception as error:  # Orbax, tensorstore and the disk raise many kinds.
            raise CheckpointError(
                f"cannot save checkpoint step {step} in {self.folder}: {one_line(error)}"
            ) from error
        return path

    def steps(self) -> list[int]:
        """Return the steps that look whole, oldest first: all files there and of full size."""
        return sorted(folder.step for folder, _ in self._whole())

    def restore(
        self,
        template: Any,
        *,
        which: Which = "newest",
        objection: Callable[[Mapping[str, Any]], str | None] = lambda meta: None,
    ) -> Restored:
        """Restore the newest good checkpoint, bit for bit, onto the devices of the template.

        Steps that are damaged in any way are named through `notify` with the reason and passed
        over. A checkpoint of another network or setting is an error, never passed over.

        Args:
          template: a state of the same structure, shapes and dtypes, of arrays or of
            `jax.ShapeDtypeStruct`; arrays come back with its shardings.
          which: 'newest'; 'best', then newest; or one step, and then no other is tried.
          objection: tells from its meta, after its name, what keeps a checkpoint from being used.

        Raises:
          CheckpointError: no good checkpoint; structure, shape or dtype differ; or an objection.
        """
        named = leaves.named_leaves(template)
        step, manifest, values = self._read(
            which, lambda found: objection(found["meta"]) or leaves.difference(found, named)
        )
        entries = manifest["arrays"]
        try:
            placed = [leaves.place(values[n], entries[n], leaf) for n, leaf in named.items()]
        except CheckpointError as error:
            raise CheckpointError(f"checkpoint step {step} in {self.folder}: {error}") from error
        state = jax.tree.unflatten(jax.tree.structure(template), placed)
        return Restored(state, manifest["meta"], step)

    def _read(
        self, which: Which, objection: Callable[[Manifest], str | None]
    ) -> tuple[int, Manifest, dict[str, np.ndarray]]:
        """Read the first good one of the steps asked for, naming what is not good on the way.

        ``objection`` tells, after its name, what keeps one with this manifest from being used.
        """
        left_over = "left over from an interrupted save or deletion"
        reasons = []
        for leftover in storage.leftovers(self.folder):
            reasons.append(f"{leftover.name} is {left_over}")
            self._notify(f"checkpoint {leftover}: {left_over}, not used")
        folders = storage.step_folders(self.folder)
        if which == "best":
            best = _best_step(self._whole())
            folders.sort(key=lambda folder: folder.step != best)
        elif isinstance(which, int):
            folders = [folder for folder in folders if folder.step == which]
        elif which != "newest":
            raise CheckpointError(f"which={which!r}: give 'newest', 'best' or a step")
        for folder in folders:
            try:
                manifest = storage.read_manifest(folder)
                if told := objection(manifest):
                    raise CheckpointError(f"checkpoint {folder.path} {told}")
                values = storage.read_arrays(folder, manifest)
            except storage.DamageError as damage:
                self._damaged.add(folder.path)
                reasons.append(f"{folder.path.name}: {damage}")
                self._notify(f"checkpoint {folder.path} is damaged and not used: {damage}")
            else:
                if reasons:
                    self._notify(f"checkpoint {folder.path} is the one used")
                return folder.step, manifest, values
        wanted = f"step {which}" if isinstance(which, int) else "checkpoint"
        if reasons:
            raise CheckpointError(f"no good {wanted} in {self.folder}: {'; '.join(reasons)}")
        there = ", ".join(map(str, self.steps()))
        told = f": it has the steps {there}" if there else ""
        raise CheckpointError(f"no {wanted} in {self.folder}{told}")

    def _whole(self) -> list[tuple[storage.StepFolder, Manifest]]:
        """Return the last attempt of each step that passes the cheap checks, newest first."""
        whole: dict[int, tuple[storage.StepFolder, Manifest]] = {}
        for folder in storage.step_folders(self.folder):
            if folder.step not in whole and folder.path not in self._damaged:
                with contextlib.suppress(storage.DamageError):
                    whole[folder.step] = folder, storage.read_manifest(folder)
        return list(whole.values())

    def _tidy(self) -> None:
        """Delete what is superseded, after a save has succeeded.

        Damaged steps do not count as kept. They are deleted when `restore` has named them; others
        (of a newer format, say) are not ours to delete.
        """
        whole = self._whole()
        best = _best_step(whole)
        kept = {folder.path for folder, _ in whole[: self.keep]}
        kept |= {folder.path for folder, _ in whole if folder.step == best}
        newest_attempt = {folder.step: folder.attempt for folder, _ in whole}
        for folder in storage.step_folders(self.folder):
            superseded = folder.attempt <= newest_attempt.get(folder.step, 0)
            if folder.path not in kept and (superseded or folder.path in self._damaged):
                storage.remove(folder.path)
                self._damaged.discard(folder.path)


def load_params(
    path: str | Path, *, which: Which = "best", notify: Say = to_stderr
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Read the network alone, without an optimizer or a template, for prediction.

    Args:
      path: a folder of checkpoints or one step's folder.
      which: 'best' (the newest where no step has a score), 'newest' or a step.
      notify: as in `Checkpoints`.

    Returns:
      params, batch_stats and meta: the first two nested dicts of NumPy arrays as saved. Where
      the run kept a moving average of its weights, ``ema``, that is the params: it is what was
      validated and tested.

    Raises:
      CheckpointError: no good checkpoint, or a state without params.
    """
    path = Path(path).absolute()
    if folder := storage.parse_step(path):
        path, which = path.parent, folder.step

    def objection(manifest: Manifest) -> str | None:
        has_params = any(name.startswith("params/") for name in manifest["arrays"])
        return None if has_params else "holds no network: it has no params"

    _, manifest, values = Checkpoints(path, notify=notify)._read(which, objection)
    state = leaves.nested(values)
    return state.get("ema") or state["params"], state.get("batch_stats", {}), manifest["meta"]


def _best_step(whole: list[tuple[storage.StepFolder, Manifest]]) -> int | None:
    """Return the step of the highest score, the earliest of equals; None if none has a score."""
    scores = [(manifest["score"], -folder.step) for folder, manifest in whole]
    scored = [pair for pair in scores if pair[0] is not None and not math.isnan(pair[0])]
    return -max(scored)[1] if scored else None


def _plain(value: Any, where: str) -> Any:
    """Check that JSON will bring back the same value, tuples aside."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        if strange := [key for key in value if not isinstance(key, str)]:
            raise CheckpointError(f"{where} has the key {strange[0]!r}: JSON needs text as keys")
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    kind = f"{type(value).__module__}.{type(value).__name__}"
    holds = "JSON holds only Python numbers, text, lists and dicts"
    raise CheckpointError(f"{where} is a {kind}: {holds}")
