"""A start for your own photographs, in minutes on two CPU cores; say which with --data.

    python -m segjax.main --config=configs/own.py --data=folder:photos

Every pixel is computed, classes may overlap, the pictures are mirrored, turned, scaled and
recoloured a little, and the epoch that is best on the validation images is the one tested.
`--image_size=128` makes large photographs quicker; `--depth=8` may do better on many images.
"""

from segjax.config import Config


def get_config() -> Config:
    """Return the settings; all but --data, whose default is not yours."""
    return Config(
        head="dense",
        upsampling="dense",
        depth=4,
        input_range="unit",
        loss="bce",
        optimizer="adamw",
        learning_rate=3e-3,
        weight_decay=1e-2,
        schedule="onecycle",
        batch_size=8,
        epochs=60,
        augment="flip,rotate:15,scale,colour",
        eval_stats="running",
        log_steps=20,
    )
