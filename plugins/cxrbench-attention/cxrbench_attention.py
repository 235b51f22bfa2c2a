"""Fusions by attention over the feature map, and by gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cxrbench import CxrbenchError, Fusion, hookimpl

CXRBENCH_API = 1


def _check(name: str, units: int, dropout: float) -> None:
    if not 1 <= units <= 4096:
        raise CxrbenchError(
            f"{name}: units cannot be {units}", expected="a whole number from 1 to 4096"
        )
    if not 0 <= dropout < 1:
        raise CxrbenchError(
            f"{name}: dropout cannot be {dropout}", expected="a share from 0 up, below 1"
        )


@dataclass(frozen=True)
class Attention(Fusion):
    """Feature vectors query the feature map.

    In the notation of Vaswani et al.: each feature vector x_j gives one query, the rows of
    Q = [W_1 x_1, ..., W_m x_m] (m, units). Keys and values are the annotation vectors a_i of Xu et
    al., the L = h * w places of the map (L, C). The output is the pooled map beside each

        z_j = LayerNorm(q_j + MultiHead(q_j, a, a))

    Places have no positional encoding. Without a map the sum over places is empty, and
    z_j = LayerNorm(q_j).

    Parameters
    ----------
    units : width of queries and of their outputs (the paper's d_model).
    heads : number of heads, each of width units / heads.
    dropout : share of a query's numbers dropped in training, 0 for none.

    References
    ----------
    Vaswani et al., Attention Is All You Need, NeurIPS 2017.
    Xu et al., Show, Attend and Tell: Neural Image Caption Generation with Visual Attention, ICML
    2015.
    """

    name: ClassVar[str] = "attention"
    image_input: ClassVar[Literal["embedding", "feature_map"]] = "feature_map"

    units: int = 256
    heads: int = 4
    dropout: float = 0.5  # as that of `concat`

    def __post_init__(self) -> None:
        _check(self.name, self.units, self.dropout)
        if self.heads < 1 or self.units % self.heads:
            raise CxrbenchError(
                f"{self.name}: heads cannot be {self.heads}",
                expected=f"a divisor of units, which is {self.units}",
            )

    def fuse(self, image: Any, features: Mapping[str, Any]) -> Any:
        """(N, h, w, C) and (N, D) each to (N, C + units * number of features)."""
        from keras import layers

        outputs = [] if image is None else [layers.GlobalAveragePooling2D(name="pooled")(image)]
        if features:
            rows = []
            for name, vector in features.items():
                dense = layers.Dense(self.units, name=f"{name}_query")(vector)
                dropped = layers.Dropout(self.dropout, name=f"{name}_dropout")(dense)
                rows.append(layers.Reshape((1, self.units), name=f"{name}_row")(dropped))
            queries = rows[0] if len(rows) == 1 else layers.Concatenate(axis=1)(rows)
            if image is not None:
                places = layers.Reshape((-1, image.shape[-1]), name="annotations")(image)
                head = layers.MultiHeadAttention(
                    self.heads, self.units // self.heads, output_shape=self.units, name="attention"
                )
                queries = layers.Add(name="residual")([queries, head(queries, places)])
            context = layers.LayerNormalization(name="context")(queries)
            outputs.append(layers.Flatten(name="contexts")(context))
        return outputs[0] if len(outputs) == 1 else layers.Concatenate(name="fused")(outputs)


@dataclass(frozen=True)
class Gated(Fusion):
    """Gated multimodal unit: gates that see all inputs weigh the output of each input.

    In the paper's notation: each input x_i, the embedding among them, gives
    h_i = tanh(W_i x_i). With two inputs z = sigmoid(W_z [x_1, x_2]) and
    h = z * h_1 + (1 - z) * h_2; with more, each has its own z_i, and h is the sum of all z_i * h_i.
    With one input there are no gates: h = h_1.

    Parameters
    ----------
    units : width of h.
    dropout : share of each feature's h_i dropped in training, 0 for none.

    References
    ----------
    Arevalo, Solorio, Montes-y-Gómez and González, Gated Multimodal Units for Information Fusion,
    ICLR 2017 workshop.
    """

    name: ClassVar[str] = "gated"

    units: int = 256
    dropout: float = 0.5  # as that of `concat`

    def __post_init__(self) -> None:
        _check(self.name, self.units, self.dropout)

    def fuse(self, image: Any, features: Mapping[str, Any]) -> Any:
        """(N, C) and (N, D) each to (N, units)."""
        from keras import layers

        inputs = {} if image is None else {"image": image}
        inputs.update(features)
        values = []
        for name, x in inputs.items():
            h = layers.Dense(self.units, activation="tanh", name=f"{name}_h")(x)
            if name in features:
                h = layers.Dropout(self.dropout, name=f"{name}_dropout")(h)
            values.append(h)
        if len(values) == 1:
            return values[0]
        beside = layers.Concatenate(name="inputs")(list(inputs.values()))

        def gate(name: str) -> Any:
            return layers.Dense(self.units, activation="sigmoid", name=name)(beside)

        if len(values) == 2:
            z = gate("z")
            gates = [z, layers.Rescaling(-1.0, offset=1.0, name="other_z")(z)]
        else:
            gates = [gate(f"{name}_z") for name in inputs]
        products = [layers.Multiply()([z, h]) for z, h in zip(gates, values, strict=True)]
        return layers.Add(name="h")(products)


@hookimpl
def cxrbench_fusions() -> list[type[Fusion]]:
    """Both fusions."""
    return [Attention, Gated]
