"""The training step as entries of one program: data order, gather, augmentation, forward, loss, backward, update.

Comes in: a `Recipe`, everything `train.compile` was asked for, checked. Goes out: the initial state and the entries
`train`, `train_last` (the smaller last batch of an epoch), `evaluate` and `predict`, each
`(state, batch, step) -> (state, outputs)`.

The batch of the two training entries is the whole data set: the step gathers its rows itself. Guaranteed: all that is
random follows from the key in the state and the step, so a state resumes bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypedDict, cast

import numpy as np

import graphc.api as gc
import graphc.numpy as gnp
from graphc import nn, optim
from graphc.api import Array, pytree
from graphc.data import Dataset
from graphc.nn.losses import class_axis
from graphc.train.objective import Objective, check_labels, inputs_and_target, is_classification
from graphc.train.slab import Layout

Remainder = Literal["drop", "smaller", "wrap"]
Augment = Callable[[object, Array], object]
Values = dict[str, Array]
_LossAndGradients = tuple[tuple[Array, tuple[Values, Values]], Values]

# Random streams that are apart. Their keys are part of the state, so a step folds in nothing but its own number.
_STREAMS = ("data", "step", "evaluate")


class State(TypedDict):
    """All that a training run is, besides its code and its data."""

    params: Values  # one slab per dtype
    optimizer: dict[str, Values]  # what the update rule keeps, per slab
    frozen: Values  # parameters without gradient, by name
    buffers: Values  # by name
    keys: Values  # one per random stream
    step: Array


@dataclass(slots=True)
class Recipe:
    """A training run, as `train.compile` was asked for it."""

    model: nn.Module
    objective: Objective
    optimizer: optim.Optimizer
    data: Dataset
    batch_size: int
    remainder: Remainder
    accumulate: int
    clip: float | None
    augment: Augment | None
    seed: int
    layouts: dict[str, Layout]
    frozen: tuple[str, ...]
    buffers: tuple[str, ...]
    labels: np.ndarray | None = None  # integer class labels of the data, checked when the number of classes is known
    classes: int | None = field(default=None, init=False)

    @property
    def steps_per_epoch(self) -> int:
        full, rest = divmod(self.data.size, self.batch_size)
        return full + (rest > 0 and self.remainder != "drop")

    @property
    def last_batch(self) -> int:
        """The size of the last batch of an epoch when it is smaller than the others, else 0."""
        return self.data.size % self.batch_size if self.remainder == "smaller" else 0

    def initial_state(self) -> State:
        """Parameters and buffers of the model as they are, a fresh optimiser, step 0."""
        leaves = nn.leaves(self.model)
        slabs = {dtype: np.asarray(layout.pack(leaves)) for dtype, layout in self.layouts.items()}
        return State(
            params=cast("Values", slabs),
            optimizer={dtype: self.optimizer.init(slab) for dtype, slab in slabs.items()},
            frozen={name: leaves[name] for name in self.frozen},
            buffers={name: leaves[name] for name in self.buffers},
            keys={name: gc.random.fold_in(gc.random.key(self.seed), name) for name in _STREAMS},
            step=np.zeros((), np.int64),
        )

    def entries(self) -> dict[str, Callable[..., object]]:
        """The functions to compile, by the name of their entry."""
        entries: dict[str, Callable[..., object]] = {
            "train": self._train,
            "evaluate": self._evaluate,
            "predict": self._predict,
        }
        if self.last_batch:
            entries["train_last"] = self._train_last
        return entries

    # Entries.
    def _train(self, state: State, dataset: object, step: Array) -> tuple[State, Values]:
        return self._update(state, self._gather(state, dataset, step, self.batch_size), step)

    def _train_last(self, state: State, dataset: object, step: Array) -> tuple[State, Values]:
        return self._update(state, self._gather(state, dataset, step, self.last_batch), step)

    def _evaluate(self, state: State, batch: object, step: Array) -> tuple[State, Values]:
        """Sums over the first `count` samples of a padded `(samples, count)`, or the means over a batch as it is."""
        key = gc.random.fold_in(state["keys"]["evaluate"], step)
        model = nn.bind(self.model, self.leaves(state), training=False, key=key)
        if not self.objective.is_per_sample:
            return state, self.objective.means(model, batch, key)
        samples, count = cast("tuple[object, Array]", batch)
        rows = self.objective.per_sample(model, samples)
        position = gnp.arange(_rows(samples), dtype="int64")
        return state, {
            name: gnp.sum(gnp.where(position < count, row, gnp.zeros_like(row))) for name, row in rows.items()
        }

    def _predict(self, state: State, inputs: tuple[Array, ...], step: Array) -> tuple[State, Array]:
        return state, nn.bind(self.model, self.leaves(state), training=False)(*inputs)

    # Parts.
    def leaves(self, state: State) -> Values:
        """All arrays of the model by name, as a state holds them: views where the state is NumPy's."""
        trained = [layout.leaves(state["params"][dtype]) for dtype, layout in self.layouts.items()]
        return {name: leaf for slab in trained for name, leaf in slab.items()} | state["frozen"] | state["buffers"]

    def _gather(self, state: State, dataset: object, step: Array, rows: int) -> object:
        """The batch of a step. Position p of an epoch holds sample permutation(p); no index is ever stored."""
        size, per_epoch = self.data.size, self.steps_per_epoch
        key, count = state["keys"]["data"], gnp.astype(step, "uint64")  # unsigned: its remainder needs no sign
        if self.data.order == "replacement":
            index = gnp.astype(gc.random.randint(gc.random.fold_in(key, count), (rows,), 0, size), "uint32")
        else:
            first = gnp.astype(count % per_epoch * self.batch_size, "uint32")
            index = first + gnp.arange(rows, dtype="uint32")
            if self.remainder == "wrap":
                index = index % size
            if self.data.order == "shuffle":
                index = gc.random.shuffle(gc.random.fold_in(key, count // per_epoch), index, size)
        return pytree.tree_map(lambda array: gnp.take(cast("Array", array), index, axis=0), dataset)

    def _update(self, state: State, batch: object, step: Array) -> tuple[State, Values]:
        key = gc.random.fold_in(state["keys"]["step"], step)
        if self.augment is not None:
            batch = self.augment(batch, gc.random.fold_in(key, 0))
        values, buffers, grads = self._gradients(state, batch, gc.random.fold_in(key, 1))
        slabs = [layout.pack(grads) for layout in self.layouts.values()]
        if self.clip is not None and slabs:
            slabs, _ = optim.clip_by_global_norm(slabs, self.clip)
        params: Values = {}
        rules: dict[str, Values] = {}
        for dtype, slab in zip(self.layouts, slabs, strict=True):
            params[dtype], rules[dtype] = self.optimizer.update(
                slab, state["optimizer"][dtype], state["params"][dtype], step
            )
        new = State(
            params=params,
            optimizer=rules,
            frozen=state["frozen"],
            buffers=buffers,
            keys=state["keys"],
            step=step + 1,
        )
        return new, values

    def _gradients(self, state: State, batch: object, key: Array) -> tuple[Values, Values, Values]:
        """Values, buffers and gradients by name: those of the batch, taken as parts that are averaged."""
        leaves = self.leaves(state)
        trained = {place.name: leaves[place.name] for layout in self.layouts.values() for place in layout.places}
        buffers = state["buffers"]
        parts = _parts(_rows(batch), max(self.batch_size // self.accumulate, 1))
        values: Values = {}
        grads: Values = {}
        for number, (start, stop) in enumerate(parts):
            part = batch if len(parts) == 1 else pytree.tree_map(lambda a, i=start, j=stop: a[i:j], batch)
            part_key = key if len(parts) == 1 else gc.random.fold_in(key, number)
            part_values, buffers, part_grads = self._part_gradients(trained, leaves | buffers, part, part_key)
            share = (stop - start) / parts[-1][1]
            values = _added(values, part_values, share)
            grads = _added(grads, part_grads, share)
        return values, buffers, grads

    def _part_gradients(
        self, trained: Values, leaves: Values, batch: object, key: Array
    ) -> tuple[Values, Values, Values]:
        def loss(trained: Values) -> tuple[Array, tuple[Values, Values]]:
            model = nn.bind(self.model, leaves | trained, training=True, key=gc.random.fold_in(key, 0))
            values = self.objective.means(model, batch, gc.random.fold_in(key, 1))
            self._check_labels(model)
            return values["loss"], (values, nn.buffers_after(model, self.model))

        if not trained:
            _, (values, buffers) = loss(trained)
            return values, buffers, {}
        differentiated = cast("Callable[[Values], _LossAndGradients]", gc.value_and_grad(loss, has_aux=True))
        (_, (values, buffers)), grads = differentiated(trained)
        return values, buffers, grads

    def _check_labels(self, model: nn.Module) -> None:
        """Compare the labels with the model's output once its shape is known: while tracing."""
        output = nn.last_output(model)
        if output is None or not is_classification(self.objective.loss):
            return
        self.classes = int(cast("Array", output).shape[class_axis(cast("Array", output), None)])
        if self.labels is not None:
            check_labels(self.labels, self.classes)


def _rows(batch: object) -> int:
    return int(cast("Array", pytree.flatten(batch)[0][0]).shape[0])


def _parts(rows: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


def _added(total: Values, part: Values, share: float) -> Values:
    """total + part * share, name by name; a part that is everything is taken as it is."""
    if share == 1.0:
        return part
    scaled = {name: value * share for name, value in part.items()}
    return {name: total[name] + value for name, value in scaled.items()} if total else scaled


def inputs_of(batch: object, loss: object) -> tuple[Array, ...]:
    """What `predict` calls the model on: all arrays of a batch but the target, or all if there is only one."""
    if isinstance(loss, str):
        return inputs_and_target(batch, loss)[0]
    leaves = cast("list[Array]", pytree.flatten(batch)[0])
    return tuple(leaves[:-1]) if len(leaves) > 1 else tuple(leaves)
