"""Mean IoU 0.94 in five minutes on two CPU cores: a small mUnet that writes every pixel.

    python -m segjax.main --config=configs/quick.py

The repaired output layer and doublings, cross-entropy on 0/1 targets, Muon with a one-cycle
schedule, one epoch of images in new colours, so that it learns shapes: in this data a disk's red
value gives it away. Chosen on the validation images, the last 1,000 training images: in the same
steps AdamW came less far, and with Dice added or at 3e-3 it left whole classes empty.
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
        optimizer="muon",
        learning_rate=1e-2,
        weight_decay=1e-2,
        augment="recolour",
        schedule="onecycle",
        batch_size=8,
        epochs=1,
        val_images=1000,
        eval_stats="running",
        log_steps=50,
    )
