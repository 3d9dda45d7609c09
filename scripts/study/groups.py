"""What the page calls groups of runs, and what it knows of them without their numbers."""

# The report's losses: how much of MSE and of Dice is in each.
WEIGHTS = {"mse": (1, 0), "dice": (0, 1), "combo20": (1, 20), "combo400": (1, 400)}
REPORT = tuple(WEIGHTS)
# A published student run at depth 16: its mean loss over the first and the last 500 iterations.
REPORTED = {"mse": (438.0, 354.0), "dice": (0.842, 0.749), "combo20": (465.0, 377.0)}
BY_HEART = ("mse", "dice", "combo400")
LOSS_TITLES = {"mse": "MSE", "dice": "Dice"} | {
    f"combo{scale}": f"MSE + {scale} Dice" for scale in (20, 100, 400, 4000)
}
LEAK_TITLES = {
    "mse-dlstudio": "MSE, DLStudio's layer",
    "mse-dense": "MSE, dense",
    "mse-dense-recolour": "MSE, dense, recoloured training",
    "library-bce": "cross-entropy, quick recipe",
    "library-bce-recolour": "cross-entropy, quick recipe, recoloured training",
}
