"""Variants of the head mlp, each with and without a part that brings nothing.

    python benchmarks/mlp_variants.py DATA --weights mobilenet=FILE [--splits choice held seeds]
        [--variants V ...] [--recipes R ...] [--seeds N]

Vectors are computed once; the heads are copies in JAX, which train in one process. One third of
the patients is held back: ``choice`` are splits of the others alone, ``held`` have the patients
that were held back as their test split, and ``seeds`` are the split seeds 0 to 4 of all patients.
A recipe is ``M`` (`mobilenet:alpha=0.25`), ``orb``, ``sift`` or ``metadata``, or several of them
joined by ``+``. Each variant is measured with and without ``+noise``; the noise is drawn anew for
each seed. Printed are means of macro AUROC over splits and seeds, the change by noise, its standard
error (splits share images, so it is too small), and the scores of averaged logits of all seeds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cxrbench.data.cohort import take
from cxrbench.data.datasets import find_dataset, load_cohort
from cxrbench.data.splits import Split, split_by_patient
from cxrbench.experiment.cohort import DividedCohort, encode_feature, prepare_cohort
from cxrbench.experiment.plans import make_plans, preparation_for
from cxrbench.interfaces import Cohort
from cxrbench.metrics.auroc import label_auroc, mean_defined
from cxrbench.metrics.patients import counted_labels
from cxrbench.modeling.assemble import build_trunk, feature_statistics
from cxrbench.modeling.linear import fit_linear_head
from cxrbench.modeling.schedule import schedule_for
from cxrbench.output.display import SilentDisplay
from cxrbench.registry import load_registry

IMAGE = "mobilenet:alpha=0.25"
FEATURES = ("orb", "sift", "metadata")
NOISE = 256
BATCH, EPOCHS, PATIENCE, MIN_STEPS = 32, 100, 10, 500
MOST_STEPS = 64  # in an epoch; shorter ones are padded, so that one compilation serves all splits


@dataclass(frozen=True)
class Variant:
    """The head of the package, but for the fields that are named.

    ``rate`` multiplies the learning rate. ``decay`` shrinks all kernels by this times the learning
    rate in each step (AdamW); ``penalty`` times their sum of squares is added to the loss. With
    ``refit``, training is repeated on the training and validation splits, with the epochs and
    learning rates that were chosen. With ``averaged``, the weights are the mean over all epochs
    whose score would count, and validation chooses none.
    """

    rate: float = 1.0
    decay: float = 0.0
    penalty: float = 0.0
    width: int = 1024
    units: int = 256
    dropout: float = 0.5
    branch_dropout: float = 0.5
    refit: bool = False
    averaged: bool = False


VARIANTS = {
    "present": Variant(),
    "learning rate / 3": Variant(rate=1 / 3),
    "learning rate * 3": Variant(rate=3.0),
    "learning rate * 10": Variant(rate=10.0),
    "weight decay 1": Variant(decay=1.0),
    "weight decay 10": Variant(decay=10.0),
    "weight decay 30": Variant(decay=30.0),
    "weight decay 100": Variant(decay=100.0),
    "L2 0.0001": Variant(penalty=1e-4),
    "L2 0.001": Variant(penalty=1e-3),
    "L2 0.003": Variant(penalty=3e-3),
    "L2 0.01": Variant(penalty=1e-2),
    "L2 0.03": Variant(penalty=3e-2),
    "width 128": Variant(width=128),
    "dropout 0.8": Variant(dropout=0.8),
    "dropout 0.8 in branches": Variant(branch_dropout=0.8),
    "branches of 32 units": Variant(units=32),
    "refit": Variant(refit=True),
    "averaged weights": Variant(averaged=True),
}


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of one split: ``parts`` (N, D) by name, not standardised."""

    name: str
    split: np.ndarray
    counted: np.ndarray
    parts: dict[str, np.ndarray]
    labels: np.ndarray
    patients: np.ndarray
    rate: float

    def rows(self, *names: str) -> np.ndarray:
        """The rows (n,) of these parts of the split, ascending."""
        return np.flatnonzero(np.isin(self.split, names))

    def inputs(self, recipe: str, seed: int) -> dict[str, np.ndarray]:
        """The standardised inputs (N, D) float32 of a recipe."""
        columns = {}
        for name in recipe.split("+"):
            if name == "noise":
                rng = np.random.default_rng((seed, NOISE))
                vectors = rng.standard_normal((len(self.split), NOISE), dtype=np.float32)
            else:
                vectors = self.parts[name]
            moments = feature_statistics(vectors, self.rows("train"))
            columns[name] = moments.standardise(vectors).astype(np.float32)
        return columns


def make_splits(cohort: Cohort, kinds: Sequence[str]) -> dict[str, np.ndarray]:
    """The part (N,) of each image in each split."""
    patients = np.array(cohort.patient_ids)
    names = np.unique(patients)
    held = np.isin(patients, np.random.default_rng(20).permutation(names)[: len(names) // 3])
    others = np.flatnonzero(~held)
    rest = take(cohort, others)

    def spread(split: Split) -> np.ndarray:
        parts = np.full(len(cohort), "", dtype="<U5")
        parts[others] = split.parts
        return parts

    splits = {}
    for seed in range(5):
        if "choice" in kinds:
            divided = split_by_patient(rest, fractions=(0.65, 0.15, 0.2), seed=5 + seed)
            splits[f"choice {seed}"] = spread(divided)
        if "held" in kinds:
            parts = spread(split_by_patient(rest, fractions=(0.75, 0.15, 0.1), seed=seed))
            parts[parts == "test"] = "train"
            parts[held] = "test"
            splits[f"held {seed}"] = parts
        if "seeds" in kinds:
            splits[f"seeds {seed}"] = split_by_patient(cohort, seed=seed).parts
    return splits


def read_vectors(options: argparse.Namespace) -> list[Vectors]:
    """Embedding and features of each split, from the work folder or computed now."""
    registry, display, cache = load_registry(), SilentDisplay(), options.work / "cache"
    dataset = find_dataset(options.data, registry, Path.cwd())
    cohort = load_cohort(dataset, display, cache)
    settings = {"protocol": "probe", "weights": tuple(options.weights)}
    plans = make_plans(["+".join((IMAGE, *FEATURES))], registry, settings, dataset)
    (plan,) = (p for p in plans if not p.recipe.is_prior)
    preparation, embedding, vectors = preparation_for([plan]), None, []
    for name, parts in make_splits(cohort, options.splits).items():
        split = Split(parts, "patient", 0, (0.7, 0.1, 0.2), name)
        data = prepare_cohort(
            DividedCohort(dataset, cohort, split),
            preparation,
            max_bad=plan.settings.max_bad,
            cache=cache,
            threads=1,
            display=display,
        )
        if embedding is None:
            backbone = plan.recipe.backbone
            assert backbone is not None
            size = plan.settings.image_size or backbone.image_size
            trunk = build_trunk(backbone, size, plan.settings.weights_for(backbone.name), 0)
            pixels = data.prepared.pixels[size]
            maps = [
                np.asarray(trunk(np.asarray(pixels[i : i + 32])[..., None].astype(np.float32)))
                for i in range(0, len(cohort), 32)
            ]
            embedding = np.concatenate(maps).mean(axis=(1, 2))
        encoded = {
            f.name: encode_feature(f, 0, data, cache, display).vectors for f in plan.recipe.features
        }
        patients = np.array(cohort.patient_ids)
        test = split.rows("test")
        vectors.append(
            Vectors(
                name,
                parts,
                counted_labels(cohort.labels[test], patients[test]),
                {"M": embedding, **encoded},
                cohort.labels,
                patients,
                plan.settings.learning_rate,
            )
        )
    return vectors


Layers = dict[str, tuple[Any, Any]]


def initial_layers(variant: Variant, widths: dict[str, int], labels: int, key: Any) -> Layers:
    """Kernels by Glorot's uniform initialisation and biases of 0, by the name of the layer."""
    shapes = {name: (width, variant.units) for name, width in widths.items() if name != "M"}
    joined = widths.get("M", 0) + variant.units * len(shapes)
    shapes |= {"head": (joined, variant.width), "logits": (variant.width, labels)}
    layers = {}
    for (name, shape), own in zip(shapes.items(), jax.random.split(key, len(shapes)), strict=True):
        limit = np.sqrt(6 / sum(shape))
        layers[name] = (
            jax.random.uniform(own, shape, minval=-limit, maxval=limit),
            jnp.zeros(shape[1]),
        )
    return layers


def logits_of(layers: Layers, inputs: dict[str, Any], key: Any = None, rates: Any = (0, 0)) -> Any:
    """Logits (n, L); with a key, in training, with dropout at the rates of branches and head."""
    keys = iter([] if key is None else jax.random.split(key, len(inputs) + 1))

    def dense(name: str, x: Any, rate: Any) -> Any:
        kernel, bias = layers[name]
        hidden = jax.nn.relu(x @ kernel + bias)
        if key is None:
            return hidden
        kept = jax.random.bernoulli(next(keys), 1 - rate, hidden.shape)
        return jnp.where(kept, hidden / (1 - rate), 0)

    branches = [x if name == "M" else dense(name, x, rates[0]) for name, x in inputs.items()]
    hidden = dense("head", jnp.concatenate(branches, axis=1), rates[1])
    kernel, bias = layers["logits"]
    return hidden @ kernel + bias


def _epoch(
    state: tuple[Any, ...], inputs: Any, labels: Any, order: Any, steps: Any, numbers: Any, key: Any
) -> tuple[Any, ...]:
    """Train on the first ``steps`` rows of ``order`` (steps, batch), by Adam as in Keras."""
    rate, decay, penalty, branch_dropout, dropout = numbers

    def loss(layers: Layers, batch: Any, own: Any) -> Any:
        x, y = {name: column[batch] for name, column in inputs.items()}, labels[batch]
        logits, known = logits_of(layers, x, own, (branch_dropout, dropout)), ~jnp.isnan(y)
        losses = jnp.where(known, jnp.logaddexp(0, logits) - jnp.where(known, y, 0) * logits, 0)
        squares = sum(jnp.sum(kernel**2) for kernel, _ in layers.values())
        return losses.sum() / jnp.maximum(known.sum(), 1) + penalty * squares

    def step(i: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        layers, mean, square, count = state
        gradient = jax.grad(loss)(layers, order[i], jax.random.fold_in(key, i))
        count = count + 1
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
        square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, gradient)
        scaled = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        layers = jax.tree.map(
            lambda p, m, s: (
                p - scaled * m / (jnp.sqrt(s) + 1e-7) - rate * decay * (p if p.ndim > 1 else 0)
            ),
            layers,
            mean,
            square,
        )
        return layers, mean, square, count

    return jax.lax.fori_loop(0, steps, step, state)


_train_epoch = jax.jit(_epoch)
_predict_rows = jax.jit(
    lambda layers, inputs, rows: logits_of(layers, {n: x[rows] for n, x in inputs.items()})
)


def predict(layers: Layers, inputs: Any, rows: np.ndarray) -> np.ndarray:
    """Logits (n, L) of these rows, which are padded to few different lengths."""
    padded = np.resize(rows, -(-len(rows) // 128) * 128)
    return np.asarray(_predict_rows(layers, inputs, padded))[: len(rows)]


def macro(labels: np.ndarray, logits: np.ndarray) -> float:
    """The mean AUROC over labels with both classes."""
    return mean_defined(label_auroc(labels, logits))


def fit_mlp(
    variant: Variant, data: Vectors, inputs: dict[str, np.ndarray], seed: int
) -> np.ndarray:
    """Logits (n, L) of the test split by the head of one variant."""
    columns = {name: jnp.asarray(x) for name, x in inputs.items()}
    labels, key = jnp.asarray(data.labels, jnp.float32), jax.random.key(seed)
    validation = data.rows("val")

    def train(rows: np.ndarray, rates: list[float] | None) -> tuple[Layers, list[float]]:
        """Train with early stopping, or for the epochs of these learning rates."""
        layers = initial_layers(
            variant, {n: x.shape[1] for n, x in inputs.items()}, labels.shape[1], key
        )
        zeros = jax.tree.map(jnp.zeros_like, layers)
        state, steps = (layers, zeros, zeros, jnp.zeros(())), len(rows) // BATCH
        assert steps <= MOST_STEPS
        schedule = schedule_for(
            data.rate * variant.rate, PATIENCE, epochs=EPOCHS, steps=steps, min_steps=MIN_STEPS
        )
        best, total, used = layers, zeros, []
        for epoch in range(EPOCHS if rates is None else len(rates)):
            order = np.random.default_rng((seed, epoch)).permutation(rows)[: steps * BATCH]
            rate = schedule.learning_rate if rates is None else rates[epoch]
            numbers = (
                rate,
                variant.decay,
                variant.penalty,
                variant.branch_dropout,
                variant.dropout,
            )
            state = _train_epoch(
                state,
                columns,
                labels,
                np.resize(order, (MOST_STEPS, BATCH)),
                steps,
                numbers,
                jax.random.fold_in(key, epoch),
            )
            used.append(rate)
            if rates is not None:
                continue
            score = macro(data.labels[validation], predict(state[0], columns, validation))
            schedule = schedule.after(score)
            if variant.averaged and epoch + 1 >= schedule.first:
                total = jax.tree.map(jnp.add, total, state[0])
            elif schedule.improved:
                best = state[0]
            if schedule.exhausted and not variant.averaged:
                break
        if rates is not None:
            return state[0], used
        if variant.averaged:
            epochs = len(used) - schedule.first + 1
            return jax.tree.map(lambda x: x / epochs, total), used
        return best, used[: schedule.best_epoch]

    layers, rates = train(data.rows("train"), None)
    if variant.refit:
        layers, _ = train(data.rows("train", "val"), rates)
    return predict(layers, columns, data.rows("test"))


def fit_linear(data: Vectors, inputs: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """Logits (n, L) of the test split by the linear head of the package."""
    train, test = data.rows("train"), data.rows("test")
    head = fit_linear_head(
        {name: x[train] for name, x in inputs.items()},
        data.labels[train],
        data.patients[train].tolist(),
        seed=seed,
    )
    return np.concatenate([x[test] for x in inputs.values()], axis=1) @ head.kernel + head.bias


def stored_logits(variant: str, data: Vectors, recipe: str, seed: int, folder: Path) -> np.ndarray:
    """Logits of the test split, from the folder or computed now."""
    name = "-".join((variant, data.name, recipe, str(seed))).replace("/", "by").replace(" ", "_")
    path = folder / f"{name}.npy"
    if not path.exists():
        inputs = data.inputs(recipe, seed)
        logits = (
            fit_linear(data, inputs, seed)
            if variant == "linear"
            else fit_mlp(VARIANTS[variant], data, inputs, seed)
        )
        np.save(path, logits)
    return np.load(path)


def scores(
    variant: str, vectors: Sequence[Vectors], recipe: str, seeds: int, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Macro AUROC (splits, seeds), and (splits,) of the mean logits of all seeds."""
    single, joint = [], []
    for data in vectors:
        truth = data.labels[data.rows("test")][:, data.counted]
        logits = [
            stored_logits(variant, data, recipe, seed, folder)[:, data.counted]
            for seed in range(seeds)
        ]
        single.append([macro(truth, z) for z in logits])
        joint.append(macro(truth, np.mean(logits, axis=0)))
    return np.array(single), np.array(joint)


def main() -> None:
    """Print a row per variant and recipe for each kind of split."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--weights", nargs="*", default=["none"])
    parser.add_argument("--splits", nargs="*", default=["choice"])
    parser.add_argument("--variants", nargs="*", default=["linear", *VARIANTS])
    parser.add_argument("--recipes", nargs="*", default=["M", "M+orb"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "cxrbench-mlp")
    options = parser.parse_args()
    folder = options.work / "logits"
    folder.mkdir(parents=True, exist_ok=True)
    vectors = read_vectors(options)
    print("splits  variant                  recipe       without  with   change (error)   averaged")
    for kind in options.splits:
        chosen = [data for data in vectors if data.name.startswith(kind)]
        for variant in options.variants:
            for recipe in options.recipes:
                pair = [
                    scores(variant, chosen, text, options.seeds, folder)
                    for text in (recipe, f"{recipe}+noise")
                ]
                change = (pair[1][0] - pair[0][0]).mean(axis=1)
                joint = [both.mean() for _, both in pair]
                print(
                    f"{kind:7} {variant:24} {recipe:12} {pair[0][0].mean():.3f}    "
                    f"{pair[1][0].mean():.3f}  {change.mean():+.3f} "
                    f"({change.std(ddof=1) / np.sqrt(len(change)):.3f})  "
                    f"{joint[0]:.3f} {joint[1]:.3f} {joint[1] - joint[0]:+.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
