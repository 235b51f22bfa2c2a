"""Help pages without names of Python types, whose paragraphs fill the width of the terminal."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup


def filled(text: str | None) -> str | None:
    """The help of a command, each paragraph on one line; typer keeps breaks after the first."""
    return text and re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def plain(parameter: Any) -> Any:
    """An argument or option whose help shows its metavar only.

    Typer shows the type of a value, such as ``<list[str]>`` or ``<bool>``, and a number's range.
    """
    parameter._get_number_range_help_str = lambda: None
    if parameter.param_type_name == "argument":
        parameter.display_type_rich = lambda ctx: None
    elif parameter.is_flag and parameter.metavar is None:
        parameter.metavar = ""
    return parameter


def plain_usage(pieces: list[str]) -> list[str]:
    """The arguments in the line of usage: ``[RUN…]`` instead of ``[[RUN…]]...``."""
    several = [piece.removesuffix("...") if "…" in piece else piece for piece in pieces]
    return [re.sub(r"^\{(.*)\}$|^\[(\[.*\])\]$", r"\1\2", piece) for piece in several]


class PlainCommand(TyperCommand):
    """A command with a plain help page."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.help = filled(self.help)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words after the name of the command in the line of usage."""
        return plain_usage(super().collect_usage_pieces(ctx))

    def get_params(self, ctx: Any) -> list[Any]:
        """Arguments and options, ``--help`` among them."""
        return [plain(parameter) for parameter in super().get_params(ctx)]


class PlainGroup(TyperGroup):
    """A group of commands with a plain help page."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Options, ``--help`` among them."""
        return [plain(parameter) for parameter in super().get_params(ctx)]
