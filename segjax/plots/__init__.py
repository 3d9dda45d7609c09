"""Figures of a run: pure functions from arrays and logged rows to matplotlib figures.

Nothing here trains or reads a run folder, and matplotlib's global state stays as it was: each
function returns a ``Figure`` of the object API, and ``save`` writes one as a small PNG. Colours are
Okabe and Ito's, which colour-blind readers can tell apart; every curve also has its own dash and
every row of pictures its name.
"""

from segjax.classes import class_colour
from segjax.plots._confusion import confusion_figure, worst_confusions
from segjax.plots._curves import loss_figure, normalised_losses_figure, runs_figure
from segjax.plots._predictions import comparison_figure, predictions_figure
from segjax.plots._style import save

__all__ = [
    "class_colour", "comparison_figure", "confusion_figure", "loss_figure",
    "normalised_losses_figure", "predictions_figure", "runs_figure", "save", "worst_confusions",
]  # fmt: skip
