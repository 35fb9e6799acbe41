"""JAX: a whole training, epochs, shuffling, batches and Adam, as one jitted function."""

import time
from functools import partial

import jax
import jax.numpy as jnp

from workloads import first_weights

RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-7


def parameters_of(workload):
    layers = [{"w": jnp.array(w), "b": jnp.array(b)} for w, b in first_weights(workload)]
    for layer in layers[:-1] if workload.normalized else []:
        layer["gamma"], layer["beta"] = jnp.ones_like(layer["b"]), jnp.zeros_like(layer["b"])
    return layers


def loss_of(workload, parameters, moving, x, y):
    activation = jax.nn.swish if workload.activation == "swish" else jax.nn.relu
    advanced = []
    for index, layer in enumerate(parameters[:-1]):
        x = activation(x @ layer["w"] + layer["b"])
        if workload.normalized:
            mean, variance = x.mean(0), x.var(0)
            x = layer["gamma"] * (x - mean) * jax.lax.rsqrt(variance + 1e-3) + layer["beta"]
            advanced.append((0.99 * moving[index][0] + 0.01 * mean, 0.99 * moving[index][1] + 0.01 * variance))
    z = x @ parameters[-1]["w"] + parameters[-1]["b"]
    if workload.loss == "softmax":
        loss = -(y * jax.nn.log_softmax(z)).sum(1).mean()
    elif workload.loss == "sigmoid":
        loss = (jax.nn.softplus(z) - z * y).mean()
    else:
        loss = ((z - y) ** 2).mean()
    return loss, advanced


def step(workload, state, x, y):
    parameters, moving, m, v, t = state
    (loss, moving), g = jax.value_and_grad(partial(loss_of, workload), has_aux=True)(parameters, moving, x, y)
    t = t + 1
    rate = RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
    m = jax.tree.map(lambda m, g: m + (1 - BETA_1) * (g - m), m, g)
    v = jax.tree.map(lambda v, g: v + (1 - BETA_2) * (g * g - v), v, g)
    parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), parameters, m, v)
    return (parameters, moving, m, v, t), loss


@partial(jax.jit, static_argnums=0)
def train(workload, state, x, y, key):
    n, batch = x.shape[0], workload.batch
    full = n // batch

    def epoch(state, key):
        order = jax.random.permutation(key, n) if batch < n else jnp.arange(n)
        batches = order[: full * batch].reshape(full, batch)
        state, losses = jax.lax.scan(lambda state, rows: step(workload, state, x[rows], y[rows]), state, batches)
        if n % batch:
            rows = order[full * batch :]
            state, _ = step(workload, state, x[rows], y[rows])
        return state, losses.mean()

    return jax.lax.scan(epoch, state, jax.random.split(key, workload.epochs))


def run(workload, x, y, repeats):
    parameters = parameters_of(workload)
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    hidden = workload.widths[1:-1] if workload.normalized else ()
    moving = [(jnp.zeros(width), jnp.ones(width)) for width in hidden]
    state = (parameters, moving, zeros, zeros, jnp.zeros(()))
    x, y, key = jnp.array(x), jnp.array(y), jax.random.key(0)
    compiled = train.lower(workload, state, x, y, key).compile()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        _, losses = jax.block_until_ready(compiled(state, x, y, key))
        seconds.append(time.perf_counter() - start)
    return seconds, float(losses[-1])
