"""What pyproject.toml cannot say: the presets in configs/ are in the wheel, as segjax.configs."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["segjax*"]), "segjax.configs"],
    package_dir={"segjax.configs": "configs"},
)
