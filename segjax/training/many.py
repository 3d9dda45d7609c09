"""Several runs on one data set: --seeds inside one folder, and `run_many`; how they are trained."""

import collections
import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from segjax.config import Config, names_with
from segjax.errors import ConfigError, Say, TrainingError
from segjax.runs import seeds
from segjax.runs.claim import open_run
from segjax.training.devices import several
from segjax.training.loop import train
from segjax.training.processes import begin, claim_folder, load_data, of_first, print_now
from segjax.training.program import Program, make_program, scans
from segjax.training.results import Result, environment, finish, unfinished
from segjax.training.step import TrainState
from segjax.training.trainer import Trainer


def run_many(
    configs: Sequence[Config], *, at_once: bool | None = None, say: Say = print_now
) -> list[Result]:
    """Train, test and draw several runs on one data set, each in its own folder.

    Args:
      configs: may differ in loss, its parameters, seed, learning rate and folder, and in no other
        setting. Give each its --run_dir. Synthetic images are the first one's.
      at_once: train them in one program; None: where that is faster, on an accelerator.
      say: gets what is to be told, each line headed by the name of its run's folder.

    Returns:
      A result for each, in order. A run whose numbers are no longer finite has its ``error``, and
      the others go on. After SIGINT or SIGTERM those that did not finish can be resumed.

    Raises:
      ConfigError, DataError, CheckpointError: as `run`, before anything has been trained.
    """
    if configs[0].multihost:
        raise ConfigError("--multihost: run_many has no part for several processes; use run")
    if any(config.seeds > 1 for config in configs):
        raise ConfigError("--seeds: of many runs each has one; give each its --seed")
    _, say = begin(configs[0], say)
    drawn = configs[0].scenes_seed()
    configs = [config.replace(synthetic_seed=drawn) for config in configs]
    with contextlib.ExitStack() as holds:
        return run_trainers(make_trainers(configs, holds, say=say), at_once=at_once, say=say)


def run_seeds(config: Config, *, say: Say) -> Result:
    """Train --seeds runs inside one folder and sum their test scores up."""
    with contextlib.ExitStack() as holds:
        return _run_seeds(config, holds, say=say)


def _run_seeds(config: Config, holds: contextlib.ExitStack, *, say: Say) -> Result:
    parent = holds.enter_context(claim_folder(config))
    members = seeds.member_configs(config, parent.path)
    done = of_first(lambda: [config.resume and seeds.is_finished(m) for m in members])
    waiting = [member for member, over in zip(members, done, strict=True) if not over]
    if any(done):
        say(f"{sum(done)} of {len(members)} seeds are finished")
    trainers = make_trainers(waiting, holds, say=say) if waiting else []
    of_first(lambda: open_run(parent, config))
    at_once = {"auto": None, "on": True, "off": False}[config.seeds_at_once]
    ended = run_trainers(trainers, at_once=at_once, resume=parent.path, say=say)
    failed = {trainer.config.seed: trainer.error for trainer in trainers if trainer.error}
    if not all(result.finished or result.error for result in ended):
        return Result(parent.path, finished=False, results={})
    good = [member for member in members if member.seed not in failed]
    results = {
        "config": config.to_dict(),
        **of_first(lambda: seeds.summarise(good)),
        "failed": {str(seed): str(error) for seed, error in failed.items()},
        "environment": environment(),
    }
    parent.write_results(results)
    say(seeds.summary_line(results))
    if failed:
        seed, error = next(iter(failed.items()))
        raise TrainingError(f"{len(failed)} of {len(members)} seeds failed; seed {seed}: {error}")
    say(f"done: {parent.path / 'results.json'}; see them with python -m segjax.show {parent.path}")
    return Result(parent.path, finished=True, results=results)


def make_trainers(
    configs: Sequence[Config], holds: contextlib.ExitStack, *, say: Say
) -> list[Trainer]:
    """Claim the folders while ``holds`` lasts, load the data and build the programs of runs."""
    for name in names_with("together", has=False):
        if len({str(getattr(config, name)) for config in configs}) > 1:
            raise ConfigError(f"runs that are trained together cannot differ in --{name}")
    named = [Path(config.run_dir).resolve() for config in configs if config.run_dir]
    if len(set(named)) < len(named):
        raise ConfigError("runs that are trained together need a --run_dir each")
    folders = [holds.enter_context(claim_folder(config)) for config in configs]
    splits = load_data(configs[0], say)
    programs: dict[str, Program] = {}
    trainers = []
    for config, folder in zip(configs, folders, strict=True):
        key = str((config.loss, sorted(config.loss_params.items()), config.learning_rate))
        programs[key] = programs.get(key) or make_program(config, splits)
        headed = functools.partial(lambda name, line: say(f"{name}: {line}"), folder.path.name)
        trainers.append(Trainer(config, splits, programs[key], folder, say=headed))
    return trainers


def run_trainers(
    trainers: Sequence[Trainer], *, at_once: bool | None, resume: Path | None = None, say: Say
) -> list[Result]:
    """Train and test runs, one after another or at once; ``resume`` is what goes on after a signal.

    A TrainingError ends its run and is in its result; the other runs go on.
    """
    if at_once is None:
        at_once = scans() and not several()
    finished: dict[Path, Result] = {}
    for pairs in groups_of(trainers, at_once=at_once):
        group, first_states = zip(*pairs, strict=True)
        try:
            states = train(group, first_states, resume=resume, say=say)
        except TrainingError as error:
            group[0].error = error
            continue
        if states is None:
            break
        for trainer, state in zip(group, states, strict=True):
            if trainer.error is None:
                finished[trainer.folder.path] = finish(trainer, state, runs_at_once=len(group))
    return [finished.get(trainer.folder.path, unfinished(trainer)) for trainer in trainers]


def groups_of(
    trainers: Sequence[Trainer], *, at_once: bool
) -> Iterator[list[tuple[Trainer, TrainState]]]:
    """Yield the runs to train next, with their first states; their folders are made.

    One by one, or at once those that stand at the same step. Resumed runs need not: a crash may
    come between their checkpoints.
    """
    groups: dict[int, list[tuple[Trainer, TrainState]]] = collections.defaultdict(list)
    for trainer in trainers:
        pair = trainer, trainer.first_state()
        if at_once:
            groups[trainer.progress.step].append(pair)
        else:
            yield [pair]
    yield from groups.values()
