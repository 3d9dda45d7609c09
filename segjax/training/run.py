"""From settings to results: one run, on a page."""

from segjax.config import Config
from segjax.errors import Say
from segjax.training.loop import train
from segjax.training.many import run_seeds
from segjax.training.processes import begin, claim_folder, load_data, print_now
from segjax.training.program import make_program
from segjax.training.results import Result, finish, unfinished
from segjax.training.trainer import Trainer


def run(config: Config, *, say: Say = print_now) -> Result:
    """Train, test and draw as ``config`` says, in a run folder.

    Raises ConfigError, DataError, CheckpointError or TrainingError, each with one line for the
    user. SIGINT or SIGTERM saves a checkpoint and returns with ``finished`` False.
    """
    config, say = begin(config, say)
    if config.seeds > 1:
        return run_seeds(config, say=say)
    with claim_folder(config) as folder:  # held; empty until all settings have proved good
        splits = load_data(config, say)
        program = make_program(config, splits)  # network, optimizer, jitted steps and test
        trainer = Trainer(config, splits, program, folder, say=say)
        state = trainer.first_state()  # from the seed, or from the newest good checkpoint
        states = train([trainer], [state], say=say)  # the loop; saves on a signal
        return finish(trainer, states[0]) if states else unfinished(trainer)
