"""Training: data order, updates against a loop in PyTorch, callbacks, interruption, resuming, errors."""

from __future__ import annotations

import gc as garbage
import os
import signal
import threading
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest

import graphc.api as gc
import graphc.numpy as gnp
from graphc import data, nn, optim, train
from graphc.api import ArgumentError, CheckpointError, DataError, UnsupportedError

BACKEND = "reference"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


def network(dtype: str = "float32") -> nn.Module:
    nn.init.seed(0)
    return nn.Sequential(nn.Linear(4, 8, dtype=dtype), nn.Tanh(), nn.Linear(8, 3, dtype=dtype))


def make(model: nn.Module | None = None, **changes: object) -> train.Job:
    settings: dict = {
        "loss": "cross_entropy",
        "optimizer": optim.sgd(0.1, momentum=0.9),
        "data": data.arrays(X, Y),
        "batch_size": 4,
        "backend": BACKEND,
    }
    return train.compile(network() if model is None else model, **(settings | changes))


class Seen(nn.Module):
    """Writes down the first feature of each sample it sees, by position."""

    def __init__(self, size: int) -> None:
        self.rows = nn.Buffer(np.zeros(size, np.float32))
        self.w = nn.Parameter(np.zeros(1, np.float32))

    def forward(self, x):
        self.rows = x[:, 0]
        return x[:, :1] * self.w


def order(steps: int, **changes: object) -> np.ndarray:
    """The samples of each step, as a training run sees them."""
    numbers = np.arange(20, dtype=np.float32)[:, None]
    settings = {"batch_size": 4, "order": "shuffle", "seed": 0, "remainder": "drop"} | changes
    dataset = data.arrays(numbers, numbers, order=settings.pop("order"))
    model = Seen(settings["batch_size"])
    job = train.compile(model, loss="mse", optimizer="sgd", data=dataset, backend=BACKEND, **settings)
    rows = []
    for _ in range(steps):
        job.fit(steps=1)
        rows.append(np.array(model.rows, int))
    return np.array(rows)


def test_every_epoch_visits_every_sample_once_in_another_order() -> None:
    epochs = order(15).reshape(3, 20)
    for epoch in epochs:
        assert sorted(epoch) == list(range(20))
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert not np.array_equal(order(5, seed=1).ravel(), epochs[0])


def test_other_orders() -> None:
    assert order(6, order="sequential").ravel().tolist() == [*range(20), *range(4)]
    drawn = order(40, order="replacement").ravel()
    assert set(drawn) == set(range(20))
    assert len(set(drawn[:20])) < 20


def test_wrap_fills_the_last_batch_from_the_start_of_the_same_order() -> None:
    rows = order(6, batch_size=8, remainder="wrap").reshape(2, 24)
    for epoch in rows:
        assert sorted(epoch[:20]) == list(range(20))
        np.testing.assert_array_equal(epoch[20:], epoch[:4])


def test_drop_leaves_out_another_rest_each_epoch() -> None:
    rows = order(8, batch_size=8).reshape(4, 16)
    assert len({frozenset(range(20)) - frozenset(epoch) for epoch in rows}) > 1


def torch_losses(job_steps: int, batches: list[np.ndarray], model: nn.Module, dtype: str = "float64") -> list[float]:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    theirs.load_state_dict({n: torch.from_numpy(np.array(a, np.float64)) for n, a in model.state_dict().items()})
    rule = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9)
    losses = []
    for step in range(job_steps):
        rows = batches[step % len(batches)]
        rule.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            theirs(torch.from_numpy(X[rows].astype(np.float64))), torch.from_numpy(Y[rows])
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        rule.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("accumulate", [1, 2, 4])
@pytest.mark.parametrize("remainder", ["drop", "smaller"])
def test_steps_are_those_of_torch(accumulate: int, remainder: str) -> None:
    model = network("float64")
    rows = np.arange(20)
    batches = [rows[:8], rows[8:16]] + ([rows[16:]] if remainder == "smaller" else [])
    expected = torch_losses(7, batches, model)
    dataset = data.arrays(X, Y, order="sequential")
    job = make(model, data=dataset, batch_size=8, accumulate=accumulate, clip=0.5, remainder=remainder)
    history = job.fit(steps=7)
    np.testing.assert_allclose(history.losses, expected, rtol=1e-9)


def test_history_means_are_weighted_by_batch_size() -> None:
    job = make(batch_size=8, remainder="smaller", metrics=["accuracy"])
    history = job.fit(epochs=2)
    assert history.steps == 6
    weights = np.array([8, 8, 4]) / 20
    np.testing.assert_allclose(history["loss"], history.losses.astype(np.float64).reshape(2, 3) @ weights, rtol=1e-6)
    assert set(history) == {"loss", "accuracy"}


def test_the_model_shows_the_trained_values_and_agrees_with_predict_and_evaluate() -> None:
    model = network()
    job = make(model, metrics=["accuracy"])
    before = model[0].weight.copy()
    history = job.fit(epochs=20)
    assert history["loss"][-1] < history["loss"][0]
    assert not np.array_equal(model[0].weight, before)
    logits = job.predict(X[:7])
    np.testing.assert_allclose(logits, model(X[:7]), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(job.predict(X)[:7], logits)
    values = job.evaluate(X[:7], Y[:7])
    assert values["accuracy"] == pytest.approx(np.mean(logits.argmax(1) == Y[:7]))
    assert values["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, Y[:7])), rel=1e-5)
    model.load_state_dict({name: np.zeros_like(array) for name, array in model.state_dict().items()})
    assert not job.predict(X).any()


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_the_arrays_a_model_was_made_with_are_given_back(backend: str) -> None:
    """The state holds the parameters from then on: nothing may keep a second copy."""
    model = network()
    before = [weakref.ref(parameter.value) for parameter in model.parameters()]
    job = make(model, backend=backend)
    garbage.collect()
    assert [reference() for reference in before] == [None] * 4
    job.fit(steps=1, progress=False)


def test_a_loss_function_with_metrics_of_its_own_evaluates_the_rest_at_its_real_size() -> None:
    def loss(model, batch, key):
        output = model(batch[0])
        return gnp.mean((output[:, 0] - gnp.astype(batch[1], "float32")) ** 2), {"largest": gnp.max(output)}

    def spread(output, target):
        return gnp.max(output) - gnp.min(output)

    job = make(loss=loss, metrics=[spread], batch_size=8)
    history = job.fit(steps=3)
    assert set(history) == {"loss", "largest", "spread"}
    values = job.evaluate(X, Y)
    parts = [(job.model(X[i : i + 8]), Y[i : i + 8]) for i in (0, 8, 16)]
    expected = sum(((out[:, 0] - y) ** 2).sum() for out, y in parts) / 20
    assert values["loss"] == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(job.predict(X), job.model(X), rtol=1e-4, atol=1e-6)


def test_frozen_parameters_stay() -> None:
    model = network()
    model[0].freeze()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    make(model).fit(steps=3)
    after = model.state_dict()
    assert [np.array_equal(after[name], before[name]) for name in before] == [True, True, False, False]


def test_buffers_and_random_layers_are_part_of_the_run() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            self.inner, self.drop = network(), nn.Dropout(0.5)
            self.calls = nn.Buffer(np.zeros((), np.int64))

        def forward(self, x):
            if self.training:
                self.calls = self.calls + 1
            return self.inner(self.drop(x))

    losses = []
    for accumulate in (1, 1, 2):
        model = Noisy()
        losses.append(make(model, accumulate=accumulate).fit(steps=4).losses)
        assert int(model.calls) == 4 * accumulate
    np.testing.assert_array_equal(losses[0], losses[1])
    assert not np.array_equal(losses[0], losses[2])
    assert len(set(losses[0])) == 4


def test_augmentation_is_part_of_the_step_and_another_one_each_step() -> None:
    numbers = np.zeros((4, 1), np.float32)
    model = Seen(4)
    job = train.compile(
        model,
        loss="mse",
        optimizer="sgd",
        data=data.arrays(numbers, numbers),
        batch_size=4,
        augment=lambda batch, key: (batch[0] + gc.random.uniform(key, (4, 1), "float32"), batch[1]),
        backend=BACKEND,
    )
    seen = []
    for _ in range(2):
        job.fit(steps=1)
        seen.append(np.array(model.rows))
    assert len(np.unique(seen)) == 8
    job.evaluate(numbers, numbers)


def test_validation_and_callbacks_run_once_per_epoch() -> None:
    events: list[train.Event] = []
    job = make()
    history = job.fit(epochs=3, validation=(X[:6], Y[:6]), callbacks=[events.append])
    assert [(event.epoch, event.step, event.is_epoch_end) for event in events] == [
        (0, 5, True),
        (1, 10, True),
        (2, 15, True),
    ]
    assert history["val_loss"] == [event.values["val_loss"] for event in events]
    assert history["val_loss"][-1] == pytest.approx(job.evaluate(X[:6], Y[:6])["loss"])


def test_early_stopping_waits_for_its_patience() -> None:
    stopper = train.EarlyStopping(2, monitor="loss", min_delta=1e9)
    history = make().fit(epochs=9, callbacks=[stopper])
    assert len(history["loss"]) == 3, "the first epoch improves on infinity, two more are waited for"
    assert history.stopped == "EarlyStopping"
    assert not history.interrupted


def test_stop_when_and_best_model() -> None:
    model = network()
    best = train.BestModel(monitor="loss", mode="max")  # the first epoch is the worst one
    snapshots = []
    job = make(model)
    job.fit(
        epochs=4,
        callbacks=[
            best,
            lambda event: snapshots.append(np.array(event.job.model_state["params"]["float32"])),
            train.StopWhen(lambda values: values["loss"] < 100),
        ],
    )
    assert len(snapshots) == 1
    history = job.fit(
        epochs=3, callbacks=[lambda event: snapshots.append(np.array(event.job.model_state["params"]["float32"])), best]
    )
    assert len(history["loss"]) == 3
    worst = int(np.argmax([best.best == value for value in history["loss"]])) if best.step != 5 else -1
    np.testing.assert_array_equal(job.model_state["params"]["float32"], snapshots[worst + 1])


def test_a_monitor_that_is_not_there_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"'val_loss'.*loss"):
        make().fit(epochs=1, callbacks=[train.EarlyStopping(1)])


def test_checkpoints_every_few_steps(tmp_path: Path) -> None:
    steps = []
    job = make()

    class Spy(train.Checkpoint):
        def __call__(self, event: train.Event) -> bool:
            steps.append(event.step)
            return super().__call__(event)

    job.fit(steps=11, callbacks=[Spy(tmp_path / "run.ckpt", every=4)])
    assert steps == [4, 8]
    assert train.resume(tmp_path / "run.ckpt", network(), data=data.arrays(X, Y), backend=BACKEND).step == 8


@pytest.mark.parametrize("first", [1, 4, 7])
@pytest.mark.parametrize("remainder", ["drop", "smaller"])
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path: Path, first: int, remainder: str) -> None:
    def noisy() -> nn.Module:
        return nn.Sequential(nn.Dropout(0.3), network())

    settings: dict = {
        "optimizer": optim.adamw(optim.warmup(optim.cosine(0.05, 9), 2)),
        "batch_size": 6,
        "remainder": remainder,
        "seed": 7,
        "metrics": ["accuracy"],
    }
    whole = make(noisy(), **settings)
    losses = whole.fit(steps=9).losses
    part = make(noisy(), **settings)
    begun = part.fit(steps=first).losses
    part.save(tmp_path / "run.ckpt")
    nn.init.seed(99)
    other = nn.Sequential(nn.Dropout(0.3), nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)))
    resumed = train.resume(tmp_path / "run.ckpt", other, data=data.arrays(X, Y), backend=BACKEND)
    assert resumed.step == first
    rest = resumed.fit(steps=9 - first).losses
    np.testing.assert_array_equal(np.concatenate([begun, rest]), losses)
    for ours, theirs in zip(other.state_dict().values(), whole.model.state_dict().values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": nn.Sequential(nn.Linear(4, 3))}, "does not fit this model"),
        ({"data": data.arrays(X[:19], Y[:19])}, "size 20 there, 19 here"),
        ({"data": data.arrays(X + 1, Y)}, "contents of the arrays differ"),
        ({"optimizer": optim.sgd(0.2, momentum=0.9)}, "optimizer="),
        ({"loss": "nll"}, "loss='cross_entropy'"),
        ({"augment": lambda batch, key: batch}, "augment=None"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    make().save(tmp_path / "run.ckpt")
    given = {"model": network(), "data": data.arrays(X, Y), "backend": BACKEND} | changes
    with pytest.raises(CheckpointError, match=message):
        train.resume(tmp_path / "run.ckpt", given.pop("model"), **given)


def test_what_was_code_has_to_be_given_again(tmp_path: Path) -> None:
    make(loss=lambda model, batch, key: gnp.mean(model(batch[0])), optimizer=optim.sgd(lambda step: 0.1)).save(
        tmp_path / "a"
    )
    with pytest.raises(CheckpointError, match="loss="):
        train.resume(tmp_path / "a", network(), data=data.arrays(X, Y), backend=BACKEND)


def test_load_names_what_differs(tmp_path: Path) -> None:
    make().save(tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"lacks optimizer\.float32\.m"):
        make(optimizer="adam").load(tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"velocity is float32\[67\] there, float32\[15\] here"):
        make(nn.Sequential(nn.Linear(4, 3))).load(tmp_path / "a")


def test_ctrl_c_ends_the_fit_after_a_step_and_keeps_the_state() -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals go to the main thread")
    job = make()

    def interrupt(event: train.Event) -> None:
        if event.epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    history = job.fit(epochs=50, callbacks=[interrupt])
    assert history.interrupted
    assert job.step == history.steps == 10
    assert signal.getsignal(signal.SIGINT) is handler
    assert not job.fit(epochs=1).interrupted
    assert job.step == 15


def test_ctrl_c_in_the_middle_of_a_native_run() -> None:
    job = make()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    history = job.fit(steps=1_000_000)
    timer.join()
    assert history.interrupted
    assert 0 < job.step == history.steps < 1_000_000


def test_a_second_ctrl_c_raises() -> None:
    def twice(event: train.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        make().fit(epochs=2, callbacks=[twice])


def test_divergence_is_reported_once_with_its_step() -> None:
    linear = nn.Linear(4, 1)
    job = make(linear, loss="mse", data=data.arrays(X, X[:, :1]), optimizer=optim.sgd(1e6))
    with pytest.warns(RuntimeWarning, match=r"at step \d") as caught:
        history = job.fit(epochs=6, callbacks=[lambda event: None])
    assert len([w for w in caught if "training diverged" in str(w.message)]) == 1
    assert not np.isfinite(history.losses).all()


def test_steps_that_went_well_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().fit(epochs=1, progress=True)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"precision": "bfloat16"}, UnsupportedError, "bfloat16"),
        ({"batch_size": 0}, ArgumentError, "batch_size=0"),
        ({"batch_size": 21}, ArgumentError, "20 samples"),
        ({"accumulate": 3}, ArgumentError, "accumulate=3"),
        ({"clip": float("nan")}, ArgumentError, "clip=nan"),
        ({"remainder": "keep"}, ArgumentError, "remainder='keep'"),
        ({"seed": -1}, ArgumentError, "seed=-1"),
        ({"loss": "cross-entropy"}, ArgumentError, "known: cross_entropy"),
        ({"metrics": ["acuracy"]}, ArgumentError, "known: accuracy"),
        ({"optimizer": "adma"}, ArgumentError, "known: sgd"),
        ({"optimizer": 0.1}, ArgumentError, "optimizer=0.1"),
        ({"data": (X, Y)}, ArgumentError, "data.arrays"),
        ({"data": data.arrays(X)}, ArgumentError, "inputs and a target"),
        ({"data": data.arrays(X, Y + 1)}, DataError, r"label 3 at \[\d+\].*3 classes"),
        ({"loss": lambda model, batch, key: model(batch[0])}, ArgumentError, "scalar"),
    ],
)
def test_errors_name_the_argument(changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(**changes)


@pytest.mark.parametrize("arguments", [{}, {"epochs": 1, "steps": 1}, {"epochs": -1}, {"steps": 1.5}])
def test_fit_wants_epochs_or_steps(arguments: dict) -> None:
    with pytest.raises(ArgumentError, match=r"epochs|steps"):
        make().fit(**arguments)


def test_validation_data_must_be_like_the_training_data() -> None:
    job = make()
    with pytest.raises(DataError, match=r"float32\[5\].*float32\[4\]"):
        job.evaluate(np.zeros((3, 5), np.float32), Y[:3])
    with pytest.raises(DataError, match="label 9"):
        job.fit(epochs=1, validation=(X[:3], np.array([0, 9, 1])))


def test_ignored_labels_cost_nothing() -> None:
    labels = Y.copy()
    labels[::2] = -100
    job = make(data=data.arrays(X, labels, order="sequential"), batch_size=20, optimizer=optim.sgd(0.0))
    expected = float(nn.functional.cross_entropy(job.model(X), labels))
    assert job.fit(steps=1).losses[0] == pytest.approx(expected, rel=1e-5)


def test_floats_are_converted_once_to_the_dtype_of_the_model() -> None:
    job = make(data=data.arrays(X.astype(np.float64), Y))
    assert job.recipe.data.leaves[0].dtype == np.float32
    assert make(network("float64")).recipe.data.leaves[0].dtype == np.float64
    assert job.predict(X.astype(np.float64)).dtype == np.float32
