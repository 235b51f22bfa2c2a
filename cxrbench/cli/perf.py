"""``cxrbench perf``: time hot paths, and detect changes that slow them down."""

from __future__ import annotations

import typer

from cxrbench.cli import perf_compare, perf_history, perf_record, perf_time

app = typer.Typer(
    help="Time the hot paths of a run, such as decoding, and detect changes that slow them down.",
    no_args_is_help=True,
)
app.command("time")(perf_time.time)
app.command("compare")(perf_compare.compare)
app.command("record")(perf_record.record)
app.command("history")(perf_history.history)


@app.callback()
def group() -> None:
    """Time the hot paths of a run, such as decoding, and detect changes that slow them down."""
