"""`Job`: a compiled training run. Made by `train.compile` and `train.resume`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

import graphc.api as gc
from graphc import data, nn, optim
from graphc.api import ArgumentError, CheckpointError, DataError, pytree
from graphc.data import Dataset
from graphc.optim.description import Json
from graphc.train import checkpoint
from graphc.train.callbacks import Callback
from graphc.train.checks import check_whole
from graphc.train.fitting import LONGEST_RUN, Fit
from graphc.train.history import History
from graphc.train.objective import check_labels, inputs_and_target, is_classification
from graphc.train.step import Recipe, State, inputs_of

if TYPE_CHECKING:
    from graphc.api import CostReport, MemoryReport, ProfileReport

Poll = Callable[[int, np.ndarray], bool]


class Job:
    """A model with its training loop, compiled. The program owns the arrays; the model's are views of them.

    After `fit`, `evaluate`, `predict` and `load` the attributes of the model (`model[0].weight`) show the trained
    values without a copy; `model.load_state_dict` writes through to them. Further training changes them in place.
    """

    def __init__(self, recipe: Recipe, program: gc.Program, precision: str = "float32") -> None:
        self.recipe = recipe
        self.program = program
        self.precision = precision
        self._is_fitting = False
        self._sync()

    def __repr__(self) -> str:
        recipe = self.recipe
        return (
            f"<job of {type(recipe.model).__name__}, {recipe.optimizer.name}, batch_size={recipe.batch_size}, "
            f"step {self.step}>"
        )

    # Running.
    def fit(
        self,
        epochs: int | None = None,
        *,
        steps: int | None = None,
        validation: Dataset | tuple[object, ...] | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool | None = None,
    ) -> History:
        """Train for this many more epochs or steps.

        validation: arrays like those of the training data; their mean loss and metrics, in evaluation mode, are in the
        history as `val_loss` and so on. progress: show a bar; None means on a terminal. Ctrl-C ends the fit after the
        current step, with `history.interrupted` set; a second one raises `KeyboardInterrupt`. A loss that becomes NaN
        or infinite is reported once, as a `RuntimeWarning`.
        """
        if (epochs is None) == (steps is None):
            raise ArgumentError("fit: give either epochs or steps")
        for name, number in (("epochs", epochs), ("steps", steps)):
            if number is not None:
                check_whole(f"fit: {name}", number, 0)
        count = int(steps) if steps is not None else int(epochs or 0) * self.recipe.steps_per_epoch
        held_out = None if validation is None else self._dataset(validation, "validation")
        validate = None if held_out is None else lambda: self._evaluate(held_out)
        frozen = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        if frozen != set(self.recipe.frozen):
            changed = ", ".join(sorted(frozen ^ set(self.recipe.frozen)))
            raise ArgumentError(f"fit: freeze and unfreeze come before train.compile; changed since: {changed}")
        if self._is_fitting:
            raise ArgumentError("fit: this job is being fitted already, in another thread or around this call")
        self._is_fitting = True
        try:
            return Fit(self, count, list(callbacks), validate, progress).run()
        finally:
            self._is_fitting = False
            for callback in callbacks:
                finish = getattr(callback, "finish", None)
                if finish is not None:
                    finish(self)
            self._sync()

    def run(self, entry: str, first: int, n: int, poll: Poll | None = None) -> tuple[int, dict[str, np.ndarray]]:
        """Run n native steps of `train` or `train_last`: steps done, and the values of each step by name.

        `poll(done, losses so far)` is called about ten times a second; returning True stops after the current step.
        """

        def forward(progress: gc.Progress, outputs: object) -> bool:
            return poll is not None and poll(progress.done, cast("dict[str, np.ndarray]", outputs)["loss"])

        done, values = self.program.run(
            entry, self.recipe.data.tree, first=first, n=n, poll=forward if poll is not None else None
        )
        return done, cast("dict[str, np.ndarray]", values)

    def evaluate(self, *arrays: object) -> dict[str, float]:
        """The mean loss and metrics over a whole set, in evaluation mode: `job.evaluate(x, y)`."""
        values = self._evaluate(self._dataset(arrays, "evaluate"))
        self._sync()
        return values

    def predict(self, *inputs: object) -> np.ndarray:
        """The model's output in evaluation mode for all samples of its inputs: `job.predict(x)`.

        An array, or the pytree of arrays that the model returns.
        Computed in batches of the training batch size; the last one is padded and cut, and no sample's output depends
        on its neighbours.
        """
        dataset = self._floats(data.arrays(*inputs, nonfinite="allow"))
        self._check_ranks(dataset)
        outputs: list[object] = []
        for start in range(0, dataset.size, self.recipe.batch_size):
            batch, count = self._padded(dataset, start)
            output = self.program.call("predict", tuple(pytree.flatten(batch)[0]))
            outputs.append(pytree.tree_map(lambda rows, n=count: np.asarray(rows)[:n], output))
        self._sync()
        return cast("np.ndarray", pytree.tree_map(lambda *parts: np.concatenate(parts), *outputs))

    def _check_ranks(self, dataset: Dataset) -> None:
        """A single sample, without the axis that counts samples, is a common mistake."""
        loss = self.recipe.objective.loss
        batch = tuple(pytree.flatten(inputs_of(self.recipe.data.tree, loss))[0])
        if isinstance(loss, str) and len(batch) != len(dataset.leaves):
            raise DataError(f"predict: the model was trained on {len(batch)} inputs, got {len(dataset.leaves)}")
        for own, given in zip(cast("tuple[np.ndarray, ...]", batch), dataset.leaves, strict=False):
            if own.ndim != given.ndim:
                raise DataError(
                    f"predict: a batch has {own.ndim} axes, the first counts samples, and samples are "
                    f"{list(own.shape[1:])}; got {list(given.shape)} (one sample x is x[None])"
                )

    def _evaluate(self, dataset: Dataset) -> dict[str, float]:
        totals: dict[str, float] = {}
        for number, start in enumerate(range(0, dataset.size, self.recipe.batch_size)):
            values, weight = self._evaluated_batch(dataset, start, number)
            for name, value in values.items():
                totals[name] = totals.get(name, 0.0) + float(value) * weight
        return {name: total / dataset.size for name, total in totals.items()}

    def _evaluated_batch(self, dataset: Dataset, start: int, number: int) -> tuple[dict[str, np.ndarray], int]:
        """Sums with weight 1, or means with the number of samples they are over."""
        if self.recipe.objective.is_per_sample:
            batch, count = self._padded(dataset, start)
            values = self.program.call("evaluate", (batch, np.int64(count)), step=number)
            return cast("dict[str, np.ndarray]", values), 1
        stop = min(start + self.recipe.batch_size, dataset.size)
        batch = pytree.tree_map(lambda leaf: cast("np.ndarray", leaf)[start:stop], dataset.tree)
        return cast("dict[str, np.ndarray]", self.program.call("evaluate", batch, step=number)), stop - start

    def _padded(self, dataset: Dataset, start: int) -> tuple[object, int]:
        """batch_size rows from `start`, the last row again where there are no more; and how many are real."""
        size = self.recipe.batch_size
        count = min(size, dataset.size - start)

        def rows(leaf: object) -> np.ndarray:
            part = cast("np.ndarray", leaf)[start : start + count]
            return part if count == size else np.concatenate([part, np.repeat(part[-1:], size - count, axis=0)])

        return pytree.tree_map(rows, dataset.tree), count

    def _dataset(self, arrays: Dataset | tuple[object, ...], owner: str) -> Dataset:
        """Data for evaluation: of the same pytree and dtypes as the training data, with labels in range."""
        dataset = arrays if isinstance(arrays, Dataset) else data.arrays(*arrays, nonfinite="allow")
        dataset = self._floats(dataset)
        own, treedef = pytree.flatten(self.recipe.data.tree)
        if pytree.flatten(dataset.tree)[1] != treedef:
            raise DataError(
                f"{owner}: expected arrays like the training data, {treedef}, got {pytree.flatten(dataset.tree)[1]}"
            )
        dataset = replace(dataset, tree=pytree.tree_map(_as_integers, dataset.tree, self.recipe.data.tree))
        leaves = pytree.flatten(dataset.tree)[0]
        for mine, theirs in zip(cast("list[np.ndarray]", own), cast("list[np.ndarray]", leaves), strict=True):
            if mine.shape[1:] != theirs.shape[1:] or mine.dtype != theirs.dtype:
                raise DataError(
                    f"{owner}: samples are {theirs.dtype}{list(theirs.shape[1:])}, "
                    f"those of the training data {mine.dtype}{list(mine.shape[1:])}"
                )
        loss, classes = self.recipe.objective.loss, self.recipe.classes
        if isinstance(loss, str) and is_classification(loss) and classes is not None:
            check_labels(np.asarray(inputs_and_target(dataset.tree, loss)[1]), classes)
        return dataset

    def _floats(self, dataset: Dataset) -> Dataset:
        return as_floats(dataset, model_dtype(self.recipe.model))

    # State.
    @property
    def model(self) -> nn.Module:
        """The model that was compiled."""
        return self.recipe.model

    @property
    def state(self) -> State:
        """All state, as views of the program's arrays."""
        return cast("State", self.program.state)

    @property
    def model_state(self) -> object:
        """Parameters and buffers, as views; assigning copies in."""
        state = self.state
        return {"params": state["params"], "frozen": state["frozen"], "buffers": state["buffers"]}

    @model_state.setter
    def model_state(self, values: object) -> None:
        self.program.state = {**self.state, **cast("dict[str, object]", values)}

    @property
    def step(self) -> int:
        """Updates made so far."""
        return int(np.asarray(self.state["step"]))

    @property
    def epoch(self) -> int:
        """Epochs finished so far."""
        return self.step // self.recipe.steps_per_epoch

    def _sync(self) -> None:
        """Let the model's arrays be views of the program's."""
        leaves = self.recipe.leaves(self.state)
        names = nn.canonical_names(self.model)
        for name, leaf in nn.all_leaves(self.model):
            leaf.value, leaf.is_view = leaves[names[name]], True

    # Looking inside.
    @property
    def memory(self) -> MemoryReport:
        """Bytes one training step needs, exact and known before the first one."""
        return self.program.memory("train")

    @property
    def cost(self) -> CostReport:
        """Float operations and bytes of one training step."""
        return self.program.cost("train")

    def profile(self, *, repeats: int | None = None, remeasure: bool = False) -> ProfileReport:
        """Time and roofline fraction of every kernel of a training step, on the job's data; the job stays as it is.

        repeats: how many steps are timed (default: as many as take 0.2 seconds). remeasure: measure the limits of the
        machine again.
        """
        recipe = self.recipe
        first, longest = self.step, LONGEST_RUN
        if recipe.last_batch:  # that step has an entry of its own
            first, longest = self.epoch * recipe.steps_per_epoch, recipe.steps_per_epoch - 1
        return self.program.profile(
            "train", recipe.data.tree, first=first, repeats=repeats, longest=longest, remeasure=remeasure
        )

    def text(self, stage: str) -> str:
        """The program at one stage: "trace", "grad", "optimized", "fused", "loop", "plan", "llvm", "asm"."""
        return self.program.text(stage)

    # Checkpoints.
    def save(self, path: str | Path) -> None:
        """Write a checkpoint: all state and the settings, in one file. Raises `CheckpointError`, never half a file."""
        leaves, treedef = pytree.flatten(self.program.state)
        arrays = dict(zip(pytree.leaf_names(treedef), cast("list[np.ndarray]", leaves), strict=True))
        checkpoint.write(Path(path), arrays, self.config())

    def load(self, path: str | Path) -> None:
        """Take the state of a checkpoint of a job of the same structure; `CheckpointError` if it does not fit."""
        self.restore(path, checkpoint.read(Path(path)).arrays)

    def restore(self, path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
        """`load` with the arrays already read; `path` is for messages."""
        leaves, treedef = pytree.flatten(self.program.state)
        own = dict(zip(pytree.leaf_names(treedef), cast("list[np.ndarray]", leaves), strict=True))
        missing, unknown = sorted(own.keys() - arrays.keys()), sorted(arrays.keys() - own.keys())
        if missing or unknown:
            raise CheckpointError(
                f"{path} does not fit this job: it lacks {', '.join(missing) or 'nothing'} "
                f"and has besides {', '.join(unknown) or 'nothing'}"
            )
        for name, leaf in own.items():
            found = arrays[name]
            if found.shape != leaf.shape or found.dtype != leaf.dtype:
                raise CheckpointError(
                    f"{path} does not fit this job: {name} is {found.dtype}{list(found.shape)} there, "
                    f"{leaf.dtype}{list(leaf.shape)} here"
                )
        self.program.state = pytree.unflatten(treedef, [arrays[name] for name in own])
        self._sync()

    def config(self) -> dict[str, Json]:
        """What a checkpoint says about the run besides its state."""
        recipe = self.recipe
        loss = recipe.objective.loss
        return {
            "model": model_description(recipe),
            "loss": loss if isinstance(loss, str) else optim.describe(loss),
            "metrics": [m if isinstance(m, str) else optim.describe(m) for m in recipe.objective.metrics],
            "optimizer": optim.describe(recipe.optimizer),
            "data": data_description(recipe.data),
            "batch_size": recipe.batch_size,
            "remainder": recipe.remainder,
            "accumulate": recipe.accumulate,
            "clip": recipe.clip,
            "augment": None if recipe.augment is None else optim.describe(recipe.augment),
            "seed": recipe.seed,
            "precision": self.precision,
        }


def model_description(recipe: Recipe) -> Json:
    """Names and places of the parameters, so that slabs of another model are not taken for those of this one."""
    slabs: dict[str, Json] = {
        dtype: [[p.name, p.offset, list(p.shape)] for p in layout.places] for dtype, layout in recipe.layouts.items()
    }
    return {"slabs": slabs, "frozen": list(recipe.frozen), "buffers": list(recipe.buffers)}


def data_description(dataset: Dataset) -> Json:
    """Size, order, types and checksums of a data set."""
    rows: list[Json] = [[leaf.dtype.str, list(leaf.shape[1:]), checkpoint.checksum(leaf)] for leaf in dataset.leaves]
    return {"size": dataset.size, "order": dataset.order, "arrays": rows}


def model_dtype(model: nn.Module) -> np.dtype[np.generic] | None:
    """The one floating dtype of the parameters, or None when there are none or several."""
    found = {str(parameter.value.dtype) for parameter in model.parameters()}
    return np.dtype(found.pop()) if len(found) == 1 else None


def as_floats(dataset: Dataset, dtype: np.dtype[np.generic] | None) -> Dataset:
    """The data with floating arrays in the model's dtype: converted once, or used as they are."""
    if dtype is None:
        return dataset

    def convert(leaf: object) -> object:
        array = cast("np.ndarray", leaf)
        floats = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
        return array.astype(dtype) if floats and array.dtype != dtype else array

    return replace(dataset, tree=pytree.tree_map(convert, dataset.tree))


def _as_integers(array: object, like: object) -> object:
    """An integer array in the integer dtype of `like`, if that holds all its values."""
    given, wanted = cast("np.ndarray", array), cast("np.ndarray", like).dtype
    if given.dtype.kind not in "iu" or wanted.kind not in "iu" or given.dtype == wanted:
        return given
    cast_array = given.astype(wanted)
    return cast_array if np.array_equal(cast_array, given) else given


def entry_inputs(recipe: Recipe) -> dict[str, object]:
    """Specs of the batches of the entries that are compiled at once."""
    tree = recipe.data.tree
    batch = pytree.tree_map(lambda leaf: _batch_spec(cast("np.ndarray", leaf), recipe.batch_size), tree)
    whole = pytree.tree_map(lambda leaf: gc.spec(cast("np.ndarray", leaf).shape, cast("np.ndarray", leaf).dtype), tree)
    inputs: dict[str, object] = {"train": whole}
    if recipe.last_batch:
        inputs["train_last"] = whole
    if recipe.objective.is_per_sample:
        inputs["evaluate"] = (batch, gc.spec((), "int64"))
        inputs["predict"] = inputs_of(batch, recipe.objective.loss)
    return inputs


def _batch_spec(leaf: np.ndarray, rows: int) -> gc.Spec:
    return gc.spec((rows, *leaf.shape[1:]), leaf.dtype)
