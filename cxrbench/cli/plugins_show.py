"""``cxrbench plugins show``: the parameters of a part."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrbench.cli.options import Format, complete_parts, takes


@takes()
def show_parts(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…",
            help="Parts of recipes, datasets, or plugins (all their parts).",
            autocompletion=complete_parts,
        ),
    ],
    *,
    output_format: Format,
) -> None:
    """Show the parameters of parts: values, range, default, meaning, and a command to copy.

    A range contains the values that the part accepts. cxrbench finds it by trying values.
    """
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.testing.documents import PartCards, part_cards

    registry = load_registry()
    cards = [card for name in names for card in part_cards(name, registry)]
    show(PartCards(cards), output_format)
