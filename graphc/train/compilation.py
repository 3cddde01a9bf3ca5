"""`train.compile` and `train.resume`: check what is asked for, then trace and compile the training loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

import graphc.api as gc
from graphc import nn, optim
from graphc.api import ArgumentError, CheckpointError
from graphc.data import Dataset
from graphc.optim.description import Json
from graphc.train import checkpoint
from graphc.train.checks import check_positive, check_whole, warn
from graphc.train.job import Job, as_floats, entry_inputs, model_dtype
from graphc.train.objective import (
    LossFunction,
    MetricFunction,
    Objective,
    check_takes,
    has_ignored,
    inputs_and_target,
    is_classification,
    objective,
)
from graphc.train.slab import layouts
from graphc.train.step import Augment, Recipe, Remainder


def compile(
    model: nn.Module,
    *,
    loss: str | LossFunction,
    optimizer: str | optim.Optimizer,
    data: Dataset,
    batch_size: int,
    remainder: Remainder = "drop",
    accumulate: int = 1,
    clip: float | None = None,
    augment: Augment | None = None,
    metrics: Sequence[str | MetricFunction] = (),
    seed: int = 0,
    backend: str | None = None,
    device: int | None = None,
    memory: int | str | None = None,
    precision: str = "float32",
    threads: int | None = None,
    sanitize: bool = False,
) -> Job:
    """Compile the whole training loop of a model: data order, gather, forward, loss, backward, update, metrics.

    loss: a name ("cross_entropy", "mse", "l1", "huber", "bce", "bce_with_logits", "hinge", "nll", "kl_div"), compared
    with the last array of the data, or a function of (model, batch, key) that returns the loss, or (loss, {name:
    value}).
    optimizer: from `graphc.optim`, or a name for its defaults. batch_size: samples per update.
    remainder: what becomes of the samples that do not fill the last batch of an epoch: left out ("drop"), a batch of
    their own ("smaller"), or filled up from the start of the same order ("wrap").
    accumulate: compute each batch in this many parts and average their gradients: less memory, the same update.
    clip: largest global norm of the gradients. augment: a function of (batch, key), traced into the step.
    metrics: names ("accuracy", "mse", "mae") or functions of (output, target).
    seed: of the data order and of all random layers; initial weights come from `nn.init.seed`.
    backend, device, memory, precision, threads: see `graphc.compile`. sanitize: `fit` stops at the first step that
    makes a NaN or infinity, or uses an index that lies outside, with a `SanitizeError` that names operation, element
    and source line; the job is then as it was before that step.

    Floating data of another dtype than the model's parameters are converted once. The model's arrays become views of
    the program's (see `Job`). Raises `ArgumentError`, `DataError` (labels outside the classes of the model's output),
    `MemoryBudgetError` when the plan needs more than `memory`, and `UnsupportedError` for what does not exist yet.

    >>> import numpy as np
    >>> from graphc import data, nn, optim, train
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> job = train.compile(
    ...     nn.Linear(1, 1), loss="mse", optimizer=optim.sgd(0.5), data=data.arrays(x, 3 * x), batch_size=16
    ... )
    >>> history = job.fit(epochs=20, progress=False)
    >>> round(float(job.predict(np.ones((1, 1), np.float32))[0, 0]), 2)
    3.0
    """
    _check(model, data, batch_size, remainder, accumulate, clip, seed)
    if isinstance(optimizer, str):
        optimizer = optim.by_name(optimizer)
    if not isinstance(optimizer, optim.Optimizer):
        raise ArgumentError(f"optimizer={optimizer!r} must come from graphc.optim, or be a name")
    target = objective(loss, metrics)
    if augment is not None:
        check_takes("augment", augment, ("batch", "key"))
    data = as_floats(data, model_dtype(model))
    labels = _labels(target, data)
    if labels is not None and has_ignored(labels):
        target = Objective(target.loss, target.metrics, ignores=True)
    named = nn.named_leaves(model)
    trained = {n: leaf.value for n, leaf in named.items() if isinstance(leaf, nn.Parameter) and leaf.requires_grad}
    if not trained:
        warn("the model has no parameters to train: layers and nn.Parameter are found in attributes, lists and dicts")
    frozen = tuple(n for n, leaf in named.items() if isinstance(leaf, nn.Parameter) and not leaf.requires_grad)
    recipe = Recipe(
        model=model,
        objective=target,
        optimizer=optimizer,
        data=data,
        batch_size=batch_size,
        remainder=remainder,
        accumulate=accumulate,
        clip=clip,
        augment=augment,
        seed=seed,
        layouts=layouts(trained),
        frozen=frozen,
        buffers=tuple(name for name, _ in model.named_buffers()),
        labels=labels,
    )
    program = gc.program(
        recipe.initial_state(),
        recipe.entries(),
        entry_inputs(recipe),
        backend=backend,
        device=device,
        memory=memory,
        precision=precision,
        threads=threads,
        sanitize=sanitize,
    )
    return Job(recipe, program, precision)


def _check(
    model: nn.Module,
    data: Dataset,
    batch_size: int,
    remainder: Remainder,
    accumulate: int,
    clip: float | None,
    seed: int,
) -> None:
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model must be an nn.Module, got {type(model).__name__}")
    if not isinstance(data, Dataset):
        raise ArgumentError(f"data must come from data.arrays(...), got {type(data).__name__}")
    check_whole("batch_size", batch_size, 1)
    check_whole("accumulate", accumulate, 1)
    check_whole("seed", seed, 0, 2**64)
    if clip is not None:
        check_positive("clip", clip)
    if remainder not in ("drop", "smaller", "wrap"):
        raise ArgumentError(f"remainder={remainder!r}: use 'drop', 'smaller' or 'wrap'")
    if batch_size > data.size:
        raise ArgumentError(f"batch_size={batch_size} is more than the {data.size} samples there are")
    if batch_size % accumulate:
        raise ArgumentError(f"accumulate={accumulate} does not divide batch_size={batch_size}")


def _labels(target: Objective, data: Dataset) -> np.ndarray | None:
    """The integer class labels of the data, when the loss takes any."""
    if not isinstance(target.loss, str):
        return None
    labels = np.asarray(inputs_and_target(data.tree, target.loss)[1])
    return labels if is_classification(target.loss) and labels.dtype.kind in "iu" else None


def resume(
    path: str | Path,
    model: nn.Module,
    *,
    data: Dataset,
    loss: str | LossFunction | None = None,
    optimizer: str | optim.Optimizer | None = None,
    metrics: Sequence[str | MetricFunction] | None = None,
    augment: Augment | None = None,
    backend: str | None = None,
    device: int | None = None,
    memory: int | str | None = None,
    threads: int | None = None,
    sanitize: bool = False,
) -> Job:
    """Compile the run that a checkpoint was saved from, and go on where it stopped: bit for bit as if it never had.

    The checkpoint knows batch size, remainder, accumulation, clipping, seed, and the loss, metrics and optimiser where
    they were not code. Code is not stored: give the model, the data, and again what was a function. Raises
    `CheckpointError` for a file that is truncated, damaged or foreign, and when what is given differs from what the
    checkpoint was made with.
    """
    path = Path(path)
    contents = checkpoint.read(path)
    config = contents.config
    try:
        job = compile(
            model,
            loss=_given("loss", loss, config),
            optimizer=_optimizer(optimizer, config),
            data=data,
            batch_size=cast("int", config["batch_size"]),
            remainder=cast("Remainder", config["remainder"]),
            accumulate=cast("int", config["accumulate"]),
            clip=cast("float | None", config["clip"]),
            augment=augment,
            metrics=_metrics(metrics, config),
            seed=cast("int", config["seed"]),
            backend=backend,
            device=device,
            memory=memory,
            precision=str(config["precision"]),
            threads=threads,
            sanitize=sanitize,
        )
    except KeyError as error:
        raise CheckpointError(f"{path} lacks the setting {error}") from error
    _compare(path, config, job.config())
    job.restore(path, contents.arrays)
    return job


def _given(name: str, value: str | LossFunction | None, config: Mapping[str, Json]) -> str | LossFunction:
    if value is not None:
        return value
    saved = config[name]
    if not isinstance(saved, str):
        raise CheckpointError(f"the checkpoint was made with code as {name}; pass {name}= again")
    return saved


def _optimizer(value: str | optim.Optimizer | None, config: Mapping[str, Json]) -> str | optim.Optimizer:
    if value is not None:
        return value
    try:
        return optim.restore(config["optimizer"])
    except ArgumentError as error:
        raise CheckpointError(f"the checkpoint's optimizer cannot be made again: {error}; pass optimizer=") from error


def _metrics(
    value: Sequence[str | MetricFunction] | None, config: Mapping[str, Json]
) -> Sequence[str | MetricFunction]:
    if value is not None:
        return value
    saved = config["metrics"]
    if not isinstance(saved, list) or not all(isinstance(metric, str) for metric in saved):
        raise CheckpointError("the checkpoint was made with code as a metric; pass metrics= again")
    return cast("list[str]", saved)


def _compare(path: Path, saved: Mapping[str, Json], own: Mapping[str, Json]) -> None:
    """Raise `CheckpointError` naming the first setting that differs. The description of data is compared by parts."""
    for name, value in own.items():
        if saved.get(name) == value:
            continue
        if name == "data":
            raise CheckpointError(f"{path} was made with other data: {_data_difference(saved.get(name), value)}")
        if name == "model":
            raise CheckpointError(f"{path} does not fit this model: its parameters have other names, shapes or order")
        raise CheckpointError(f"{path} was made with {name}={saved.get(name)!r}, this run has {name}={value!r}")


def _data_difference(saved: Json, own: Json) -> str:
    if not isinstance(saved, dict) or not isinstance(own, dict):
        return "the description is damaged"
    for part in ("size", "order"):
        if saved.get(part) != own[part]:
            return f"{part} {saved.get(part)!r} there, {own[part]!r} here"
    return "the contents of the arrays differ"
