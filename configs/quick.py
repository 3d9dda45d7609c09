"""Minutes on two CPU cores, and every pixel: a small mUnet with the dense head.

    python -m segjax.main --config=configs/quick.py

The repaired output layer and doublings, cross-entropy on 0/1 targets, AdamW with a one-cycle
schedule. Chosen on the validation images: with Dice added, or with 3e-3, whole classes stayed
empty for the one epoch. The last 1,000 training
images are for validation.
"""

from segjax.config import Config


def get_config() -> Config:
    """Return the settings of the quick run."""
    return Config(
        head="dense",
        upsampling="dense",
        depth=4,
        input_range="unit",
        loss="bce",
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=1e-2,
        schedule="onecycle",
        batch_size=8,
        epochs=1,
        val_images=1000,
        eval_stats="running",
        log_steps=50,
    )
