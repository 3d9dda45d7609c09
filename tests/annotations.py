"""Shapes and dtypes in the package's annotations, checked whenever a test calls the function."""

import builtins

import beartype
import jaxtyping

NAMES = ("Array", "Bool", "Float", "Inexact", "Int", "Integer", "Num", "Real", "UInt8")


def checked(function):
    """Check a function's arguments and result, if its annotations have jaxtyping's.

    Others take what users give, lists and wrong names among it, and say themselves what is wrong.
    """
    shaped = any("jaxtyping" in repr(kind) for kind in function.__annotations__.values())
    return beartype.beartype(function) if shaped else function


def check(*packages):
    """Have the modules of packages checked that are imported from now on.

    They import jaxtyping's names for type checkers only, so those are given as built-in ones.
    """
    for name in NAMES:
        setattr(builtins, name, getattr(jaxtyping, name))
    jaxtyping.install_import_hook(packages, f"{__name__}.checked")
