"""Boards, comparisons, figures, predictions and explanations of saved runs, as values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.boards.ablation import ablations
from cxrbench.boards.board import boards
from cxrbench.boards.comparison import Comparison, compare_rows
from cxrbench.boards.figures import KINDS, all_figures
from cxrbench.boards.figures.rows import choose_rows, whole_board
from cxrbench.boards.leaderboard import Leaderboard, sorted_boards
from cxrbench.boards.literature import literature_choice
from cxrbench.interfaces import Display
from cxrbench.output.display import notebook_display
from cxrbench.request import request_of
from cxrbench.runs.scores import verified
from cxrbench.runs.selection import find_pair, find_seeds, read_board_runs, with_recipes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from cxrbench.inference.explain import ExplainedImages


def leaderboard(  # noqa: PLR0913 - every argument but the first is a keyword
    runs: str | Path = "runs",
    *,
    recipes: Sequence[str] = (),
    sort: str = "macro",
    controls: bool = False,
    per_label: bool = False,
    ablation: bool = False,
    literature: bool | str = False,
    verify: bool = False,
    display: Display | None = None,
) -> Leaderboard:
    """The boards of all complete runs in a folder.

    Parameters
    ----------
    recipes : only rows with one of these, where ``*`` is any text; the prior stays.
    sort : one of `cxrbench.boards.leaderboard.ORDERS`.
    controls : also rank control rows.
    per_label : also the scores of each label.
    ablation : also what each part adds.
    literature : also published results: ``"same"`` (or True) on the list and labels of each
        board, or ``"all"``.
    verify : compute the scores of all runs again, and leave out those that do not agree.

    Raises
    ------
    CxrbenchError : for every problem that the caller can fix.
    """
    display = display or notebook_display()
    choice = literature_choice(literature)
    complete, skipped = read_board_runs(Path(runs), per_label=per_label)
    if verify:
        complete, others = verified(complete, display)
        skipped += others
    for run in skipped:
        display.say(f"left out: {run.reason}")
    if recipes:
        complete = with_recipes(recipes, complete)
    return Leaderboard(
        sorted_boards(boards(complete, per_label=per_label, controls=controls), sort),
        skipped,
        per_label=per_label,
        ablations=ablations(complete) if ablation else None,
        literature=choice,
    )


def compare(a: str, b: str, *, runs: str | Path = "runs") -> Comparison:
    """Compare two rows, recipes or run directories, on the test images of their board.

    Raises
    ------
    CxrbenchError : for every problem that the caller can fix.
    """
    return compare_rows(*find_pair(a, b, Path(runs)))


def figures(
    *rows: str,
    runs: str | Path = "runs",
    only: Collection[str] = KINDS,
    labels: Sequence[str] = (),
    display: Display | None = None,
) -> dict[str, Figure]:
    """Figures of rows by name, as Matplotlib figures; without rows, of the largest board.

    Parameters
    ----------
    rows : recipes or run directories.
    only : some of `cxrbench.boards.figures.KINDS`.
    labels : those to draw; by default those that count in macro.

    Raises
    ------
    CxrbenchError : for every problem that the caller can fix.
    """
    display = display or notebook_display()
    chosen = choose_rows(rows, Path(runs), display)
    board = whole_board(chosen, Path(runs))
    return dict(all_figures(chosen, board, only=only, labels=labels, display=display))


def predict(  # noqa: PLR0913 - every argument but the first two is a keyword
    run: str,
    images: str | Path | Iterable[str | Path],
    *,
    runs: str | Path = "runs",
    seed: int | None = None,
    device: str = "auto",
    batch_size: int = 32,
    accept_unknown: bool = False,
    display: Display | None = None,
) -> pd.DataFrame:
    """Scores of new images by a trained run, or the mean over all seeds of a recipe.

    Parameters
    ----------
    run : a run directory, or a recipe.
    seed : of a recipe, use this seed only.
    images : files, folders of images, or tables of paths.
    accept_unknown : also score DICOM files that do not say what they show.

    Returns
    -------
    A DataFrame with ``image``, a probability for each label, NaN in rows with an error, and
    ``error``, None in the others. Of several seeds, probabilities are the mean, and the columns
    ``seed0_LABEL`` and so on before ``error`` have those of each seed.

    Raises
    ------
    CxrbenchError : for every problem that the caller can fix.
    """
    import numpy as np
    import pandas as pd

    from cxrbench.inference.images import ImageSource, count_images, readers_of
    from cxrbench.inference.predict import predict_images
    from cxrbench.inference.seeds import load_seeds
    from cxrbench.inference.trained import on_device
    from cxrbench.registry import load_registry

    display, registry = display or notebook_display(), load_registry()
    readers = readers_of(registry, accept_unknown=accept_unknown)
    source = ImageSource(_paths(images), readers)
    threads = request_of({}).thread_count
    chosen = find_seeds(run, Path(runs), seed)
    with on_device(device, display):
        models = load_seeds(chosen, registry)
        label_names = list(models[0].label_names)
        names: list[str] = []
        scores: list[Any] = []
        errors: list[str | None] = []
        with display.task("predicting", count_images(source).images) as advance:
            for batch in predict_images(models, source, batch_size=batch_size, threads=threads):
                names += batch.names
                of_seeds = batch.of_models if len(models) > 1 else ()
                scores.append(np.concatenate([batch.y_score, *of_seeds], axis=1))
                errors += batch.errors
                advance(len(batch.names))
    seeds = [one.run.conditions.seed for one in models if len(models) > 1]
    columns = label_names + [f"seed{one}_{label}" for one in seeds for label in label_names]
    values = np.concatenate(scores) if scores else np.empty((0, len(columns)))
    table = pd.DataFrame(values, columns=columns)
    table.insert(0, "image", names)
    table.insert(len(table.columns), "error", errors)
    return table


def explain(  # noqa: PLR0913 - every argument but the first two is a keyword
    run: str,
    images: str | Path | Iterable[str | Path],
    *,
    output: str | Path = "explained",
    labels: Sequence[str] = (),
    top: int = 1,
    method: str = "auto",
    iou_threshold: float = 0.5,
    runs: str | Path = "runs",
    seed: int | None = None,
    data: str | None = None,
    device: str = "auto",
    display: Display | None = None,
) -> ExplainedImages:
    """Draw saliency maps, keypoints, visual words and boxes of images, as PNG files in ``output``.

    Parameters
    ----------
    run : a run directory, or a recipe: then each seed has its own figures.
    seed : of a recipe, use this seed only.
    images : files, folders, tables of paths, or image ids of ``data``.
    labels : those to explain; by default the ``top`` labels with the highest scores.
    method : ``auto``, ``gradcam``, ``gradcam++`` or ``occlusion``.
    iou_threshold : IoU counts pixels with at least this share of the map's maximum.

    Raises
    ------
    CxrbenchError : for every problem that the caller can fix.
    """
    from cxrbench.inference.explain import ExplainOptions, draw_explanations

    request = request_of({"runs": Path(runs), **({} if data is None else {"data": data})})
    options = ExplainOptions(
        labels=tuple(labels),
        top=top,
        method=method,
        data=request.data,
        output=Path(output),
        iou_threshold=iou_threshold,
        device=device,
        cache=request.cache,
        threads=request.thread_count,
    )
    chosen = find_seeds(run, request.runs, seed)
    inputs = [str(one) for one in _paths(images)]
    return draw_explanations(chosen, inputs, options, display or notebook_display())


def _paths(images: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    return (Path(images),) if isinstance(images, str | Path) else tuple(map(Path, images))
