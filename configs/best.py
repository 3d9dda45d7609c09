"""The highest mean IoU on the real data: the speedrun's network, larger and trained for longer.

    python -m segjax.main --config=configs/best.py

Twice the blocks and half as many channels again, 20 epochs, mirrored and turned images, and a
moving average of the weights. About 45 times the speedrun's arithmetic: more than an hour on two
CPU cores. Not measured at full length yet.
"""

from segjax.config import Config


def get_config() -> Config:
    """Return the settings of the long run."""
    return Config(
        network="unet",
        unet_widths="48,96,192",
        unet_blocks=2,
        head="dense",
        input_range="unit",
        loss="bce",
        optimizer="muon",
        learning_rate=1e-2,
        weight_decay=1e-2,
        schedule="onecycle",
        batch_size=16,
        epochs=20,
        augment="flip,rotate90",
        ema_decay=0.999,
        val_images=1000,
        eval_stats="running",
        log_steps=50,
    )
