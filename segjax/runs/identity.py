"""What a run is told by: an id, the settings that must not change, and a digest of its data.

It is written into the folder, as ``run.json``, when the run is started, and into each checkpoint.
"""

import dataclasses
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segjax.config import Config, settings_that_differ
from segjax.errors import ConfigError, DataError
from segjax.files import regular, write_text

RUN_FILE = "run.json"


@dataclasses.dataclass(frozen=True)
class Identity:
    """Which run something belongs to.

    Attributes:
      id: drawn when the run is started; copies of its folder share it.
      config: the settings that it was started with.
      data: SHA-256 of its images and masks in hexadecimal; "" where it has not seen any yet.
    """

    id: str
    config: Config
    data: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"id": self.id, "settings": self.config.to_dict(), "data": self.data}

    def write(self, folder: Path) -> None:
        """Write run.json into a run's folder; OSError if it cannot be written."""
        write_text(folder / RUN_FILE, json.dumps(self.to_dict(), indent=2) + "\n")

    def difference(self, meta: Mapping[str, Any]) -> str | None:
        """Tell what keeps a checkpoint with this meta from being the run's; None if nothing does.

        One that was saved before runs had an identity has none, and is taken as the run's.
        """
        if (noted := meta.get("run")) is None:
            return None
        other = _parsed(noted, source="the checkpoint's manifest")
        if changes := settings_that_differ(other.config, self.config):
            return f"belongs to another run: {'; '.join(changes)}"
        if self.data and other.data not in ("", self.data):
            return "belongs to a run on other data"
        return None if other.id == self.id else "belongs to another run of the same settings"


def identify(folder: Path, config: Config, *, data: str = "") -> Identity:
    """Return the identity of the run in ``folder``, or a new one if it has none; writes nothing.

    Args:
      folder: a run's, which need not be there yet.
      config: the settings of now; they must not change what the run was started with.
      data: the digest of the data of now; "" if there is none.

    Raises ConfigError if run.json is damaged or its settings are others, DataError if its data is.
    """
    file = folder / RUN_FILE
    if not file.exists():
        return Identity(uuid.uuid4().hex, config, data)
    try:
        found = _parsed(json.loads(regular(file).read_text(encoding="utf-8")), source=str(file))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: cannot be read ({error})") from None
    if changes := settings_that_differ(found.config, config):
        told = f"config.json is not what the run was started with: {'; '.join(changes)}"
        raise ConfigError(f"{folder}: {told}; put it back, or start another run")
    if data and found.data not in ("", data):
        raise DataError(f"{folder}: the data is not what the run was started with")
    return dataclasses.replace(found, data=found.data or data)


def settings_changed(meta: Mapping[str, Any], config: Config) -> list[str]:
    """Return a phrase for each setting in which ``config`` differs from a checkpoint's run.

    Raises ConfigError if what the checkpoint's ``meta`` says of its run cannot be read.
    """
    if (noted := meta.get("run")) is None:
        return []
    return settings_that_differ(_parsed(noted, source="the checkpoint's manifest").config, config)


def _parsed(noted: Any, *, source: str) -> Identity:
    try:
        config = Config.from_json(json.dumps(noted["settings"]), source=source)
        return Identity(str(noted["id"]), config, str(noted["data"]))
    except (KeyError, TypeError):
        raise ConfigError(f"{source}: does not hold a run's id, settings and data") from None
