"""What a caller may get wrong with `train`: a clear error or warning, or it just works."""

from collections.abc import Callable

import numpy as np
import pytest

import graphc.api as gc
from graphc import data, nn, train
from graphc.nn import functional as F

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 20)


def _compile(**changes: object) -> train.Job:
    model = nn.Sequential(nn.Linear(4, 3))
    settings = {"model": model, "loss": "cross_entropy", "optimizer": "adam", "data": data.arrays(X, Y)}
    return train.compile(**{**settings, "batch_size": 10, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), F.cross_entropy, lambda model: 0.0])
def test_a_loss_of_other_arguments_is_named(loss: object) -> None:
    with pytest.raises(gc.ArgumentError, match=r"called as \(model, batch, key\): .*loss\(model\(batch\[0\]\)"):
        _compile(loss=loss)


def test_metrics_and_augment_of_other_arguments_are_named() -> None:
    with pytest.raises(gc.ArgumentError, match=r"metric <lambda> is called as \(output, target\)"):
        _compile(metrics=(lambda output: output,))
    with pytest.raises(gc.ArgumentError, match=r"augment <lambda> is called as \(batch, key\)"):
        _compile(augment=lambda batch: batch)


def test_a_plain_function_is_no_model() -> None:
    with pytest.raises(gc.ArgumentError, match=r"model must be an nn\.Module, got function"):
        _compile(model=lambda x: x)


@pytest.mark.parametrize("threads", ["2", 0, -1, True, 1.5])
def test_threads(threads: object) -> None:
    with pytest.raises(gc.ArgumentError, match="threads="):
        _compile(threads=threads)


@pytest.mark.cpu
def test_device() -> None:
    with pytest.raises(gc.BackendError, match="the cpu backend has one device, number 0, not 1"):
        _compile(device=1)


def test_float_class_labels_are_explained() -> None:
    with pytest.raises(gc.ShapeError, match="Class labels are integers"):
        _compile(data=data.arrays(X, Y.astype(np.float32)))


def test_a_single_sample_is_explained() -> None:
    with pytest.raises(gc.DataError, match=r"got \[4\] \(one sample x is x\[None\]\)"):
        _compile().predict(X[0])


def test_integer_labels_of_another_width_are_taken() -> None:
    job = _compile()
    assert job.evaluate(X, Y.astype(np.int16)) == job.evaluate(X, Y)
    with pytest.raises(gc.DataError, match="samples are float32"):
        job.evaluate(X, Y.astype(np.float32))


def test_warnings_name_the_line_of_the_caller() -> None:
    with pytest.warns(RuntimeWarning, match="no parameters to train") as caught:
        _compile(model=nn.Identity(), data=data.arrays(X[:, :3].copy(), Y))
    assert caught[0].filename == __file__
    job = _compile(model=nn.Linear(4, 1), loss="mse", data=data.arrays(X * 1e30, X[:, :1]), optimizer="adam")
    with pytest.warns(RuntimeWarning, match="diverged") as caught:
        job.fit(1, progress=False)
    assert caught[0].filename == __file__


def test_assigning_a_parameter_of_a_compiled_model_reaches_the_program() -> None:
    model = nn.Linear(4, 3)
    job = _compile(model=model)
    job.fit(1, progress=False)
    model.weight = np.ones((3, 4), np.float32)
    model.bias = nn.Parameter(np.zeros(3, np.float32))
    np.testing.assert_allclose(job.predict(X), np.repeat(X.sum(1)[:, None], 3, axis=1), rtol=1e-5, atol=1e-5)
    with pytest.raises(gc.ArgumentError, match="cannot become"):
        model.weight = np.ones((4, 3), np.float32)


def test_big_endian_data_train_like_any_other() -> None:
    native, swapped = (_compile(data=data.arrays(x, Y)) for x in (X, X.astype(">f4")))
    native.model.load_state_dict(swapped.model.state_dict())
    assert (native.fit(2, progress=False).losses == swapped.fit(2, progress=False).losses).all()


def test_fit_inside_fit_is_an_error() -> None:
    job = _compile()
    with pytest.raises(gc.ArgumentError, match="being fitted already"):
        job.fit(2, callbacks=[lambda event: bool(event.job.fit(1))], progress=False)
    assert job.fit(1, progress=False).steps == 2


def test_jobs_and_data_print_what_they_are() -> None:
    assert repr(_compile()) == "<job of Sequential, adam, batch_size=10, step 0>"
    assert repr(data.arrays(X, Y)) == "Dataset(20 samples of float32[4], int64[], order='shuffle')"


def test_the_progress_bar_counts_runs_too_short_to_be_polled(capsys: pytest.CaptureFixture[str]) -> None:
    _compile().fit(3, validation=(X, Y), progress=True)
    assert "6/6" in capsys.readouterr().err


class Pair(nn.Module):
    def __init__(self) -> None:
        self.layer = nn.Linear(4, 3)

    def forward(self, x: gc.Array) -> tuple[gc.Array, gc.Array]:  # type: ignore[override]
        return self.layer(x), x


def test_predict_gives_every_output_of_a_model() -> None:
    def loss(model: nn.Module, batch: object, key: gc.Array) -> gc.Array:
        return F.cross_entropy(model(batch[0])[0], batch[1])  # type: ignore[index]

    job = _compile(model=Pair(), loss=loss, batch_size=8)
    logits, same = job.predict(X)
    np.testing.assert_array_equal(same, X)
    assert logits.shape == (20, 3)
    with pytest.raises(gc.ArgumentError, match="compares one array, and the model returns a tuple"):
        _compile(model=Pair())


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (lambda out: None, "must return numbers; loss is a NoneType"),
        (lambda out: out, r"must return scalars; loss has shape \[10, 3\]"),
        (lambda out: (out.sum(), {"each": out[:, 0]}), r"must return scalars; each has shape \[10\]"),
        (lambda out: (out.sum(), {"note": "x"}), "must return numbers; note is a str"),
        (lambda out: (out.sum(), out.mean()), r"returns \(loss, \{name: value\}\), not \(loss, Tracer\)"),
    ],
)
def test_what_a_loss_function_returns_is_checked(result: Callable[[gc.Tracer], object], text: str) -> None:
    def wrong(model: nn.Module, batch: object, key: gc.Array) -> object:
        return result(model(batch[0]))  # type: ignore[index, arg-type]

    with pytest.raises(gc.ArgumentError, match=f"the loss function wrong {text}"):
        _compile(loss=wrong)


def test_freezing_after_compiling_is_an_error() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    job = _compile(model=model)
    model[0].freeze()
    with pytest.raises(gc.ArgumentError, match=r"changed since: 0\.bias, 0\.weight"):
        job.fit(1, progress=False)


def test_predict_counts_its_inputs() -> None:
    with pytest.raises(gc.DataError, match="trained on 1 inputs, got 2"):
        _compile().predict(X, X)
