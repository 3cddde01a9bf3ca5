"""The training problems in JAX with optax: one jitted step whose state is donated."""

import time

from benchmarks.problems import COMPARED_STEPS, PROBLEMS
from benchmarks.serve import Case, Prepare, Request, serve


def load(threads: int) -> Prepare:
    """Import JAX. It takes as many threads as the process has cores; the worker stays on as many as it should."""
    import jax
    import jax.numpy as jnp
    import optax

    def loss_of(parameters, x, y):
        for weight, bias in parameters[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        weight, bias = parameters[-1]
        return -jnp.take_along_axis(jax.nn.log_softmax(x @ weight + bias), y[:, None], -1).mean()

    def prepare(case: Request) -> Case:
        problem = PROBLEMS[str(case["workload"])]
        parameters = [(jnp.asarray(weight.T), jnp.asarray(bias)) for weight, bias in problem.parameters()]
        inputs, classes = problem.data()
        x, y = jnp.asarray(inputs), jnp.asarray(classes.astype("int32"))
        optimizer = optax.sgd(0.01, 0.9) if problem.optimizer == "sgd" else optax.adam(1e-3)
        state = optimizer.init(parameters)

        def step(parameters, state, x, y):
            loss, gradients = jax.value_and_grad(loss_of)(parameters, x, y)
            updates, state = optimizer.update(gradients, state, parameters)
            return optax.apply_updates(parameters, updates), state, loss

        start = time.perf_counter()
        compiled = jax.jit(step, donate_argnums=(0, 1))
        parameters, state, loss = compiled(parameters, state, x, y)
        losses = [float(loss)]
        first_step = time.perf_counter() - start

        def run(steps: int) -> None:
            nonlocal parameters, state, loss
            for _ in range(steps):
                parameters, state, loss = compiled(parameters, state, x, y)
            loss.block_until_ready()

        for _ in range(COMPARED_STEPS - 1):
            run(1)
            losses.append(float(loss))
        return Case(run, {"first_step_s": first_step, "losses": losses})

    return prepare


if __name__ == "__main__":
    serve({"jax": load})
