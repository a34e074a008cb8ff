"""A step of training by each side, written once: a gradient and plain descent, or Adam.

Each function returns what a row wants of a side: the step, and what it computed.
"""

import functools

import numpy as np

__all__ = ["TUNED", "jax_step", "our_step", "torch_step", "torch_whole"]

EPS = 1e-6  # of Adam: what rounding leaves of a gradient that vanishes moves no weight by the whole rate
TUNED = "max-autotune-no-cudagraphs"  # of torch.compile: products tuned, nothing for other devices


def our_step(net, params, batch, rate, result, adam=False, rng=None, decay=0.0, shards=False):
    """A model of the book as the loop calls it: the gradient into one flat vector, one pass over it.

    With `decay` Adam is AdamW. With `shards` the batch is cut among the threads, where there are
    several, and each goes through the whole network with its part, as `fit` does with an executor.
    """
    from concurrent.futures import ThreadPoolExecutor

    from numba import get_num_threads

    from dlbook import optimization
    from dlbook.nets.shards import Shards
    from dlbook.tools.flat import like

    grads, work = like(params), net.workspace(len(batch[0]))
    optimizer = optimization.Adam(rate, eps=EPS) if adam else optimization.SGD(rate)
    if decay:
        optimizer = optimization.AdamW(rate, eps=EPS, weight_decay=decay)
    slots, last, state = optimizer.start(params.flat), [0.0, 0], net.start()
    gradient = lambda: net.loss_and_grad(params, state, batch, grads, work, rng)
    if shards and (threads := get_num_threads()) > 1:
        cut = Shards(net, ThreadPoolExecutor(threads), threads, len(batch[0]))
        draw = rng or np.random.default_rng(0)
        gradient = lambda: cut.loss_and_grad(params, state, batch, grads, draw, last[1])

    def step():
        last[1] += 1
        last[0] = gradient()
        optimizer.update(params.flat, grads.flat, slots, last[1])

    return step, lambda: result(last[0])


def torch_step(parameters, cost, rate, result, adam=False, mode=None, decay=0.0):
    """PyTorch with its fused optimizer; `mode` names how the cost is compiled, if it is.

    With `decay` Adam is AdamW.
    """
    import torch

    kind = functools.partial(torch.optim.Adam, eps=EPS) if adam else torch.optim.SGD
    if decay:
        kind = functools.partial(torch.optim.AdamW, eps=EPS, weight_decay=decay)
    optimizer, last = kind(parameters, lr=rate, fused=True), [None]
    if mode:
        cost = torch.compile(cost, mode=mode)

    def step():
        optimizer.zero_grad(set_to_none=True)
        last[0] = cost()
        last[0].backward()
        optimizer.step()

    return step, lambda: result(last[0].detach())


def torch_whole(model, cost, rate, result, adam=False, counted=False):
    """The whole step in functional form, the optimizer written out, in one compiled function.

    `cost` takes what stands for the model, a function of its input; where it is `counted`, the number
    of steps done as well.
    """
    import torch

    names, tensors = zip(*model.named_parameters(), strict=True)
    parameters = [p.detach() for p in tensors]
    m, v = ([torch.zeros_like(p) for p in parameters if adam] for _ in range(2))
    last, t = [None], torch.zeros(())

    def loss_of(parameters):
        given = dict(zip(names, parameters, strict=True))
        stands = lambda x: torch.func.functional_call(model, given, x)
        return cost(stands, t) if counted else cost(stands)

    @torch.compile(mode=TUNED)
    def whole(parameters, m, v, t):
        grads, loss = torch.func.grad_and_value(loss_of)(parameters)
        if not adam:
            for p, g in zip(parameters, grads, strict=True):
                p.sub_(g, alpha=rate)
            return loss
        t.add_(1)
        for p, g, a, b in zip(parameters, grads, m, v, strict=True):
            a.mul_(0.9).add_(g, alpha=0.1)
            b.mul_(0.999).addcmul_(g, g, value=0.001)
            root = (b / (1 - 0.999**t)).sqrt() + EPS
            p.sub_(rate / (1 - 0.9**t) * a / root)
        return loss

    @torch.no_grad()
    def step():
        last[0] = whole(parameters, m, v, t)

    return step, lambda: result(last[0])


def jax_step(jax, cost, params, rate, result, adam=False, counted=False):
    """The whole step of JAX under jit, its state donated; `result` takes the cost and the parameters.

    `cost` takes the parameters; with Adam it may be `counted` and takes the number of steps done, too.
    """

    def plain(params):
        loss, grads = jax.value_and_grad(cost)(params)
        return loss, jax.tree.map(lambda p, g: p - rate * g, params, grads)

    def adam_step(params, m, v, t):
        loss, grads = jax.value_and_grad(cost)(params, *((t,) if counted else ()))
        t = t + 1
        m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
        v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)

        def moved(p, a, b):
            root = jax.numpy.sqrt(b / (1 - 0.999**t)) + EPS
            return p - rate / (1 - 0.9**t) * a / root

        return loss, jax.tree.map(moved, params, m, v), m, v, t

    state = [jax.device_put(params)]
    if adam:
        zeros = jax.tree.map(np.zeros_like, params)
        state += map(jax.device_put, (zeros, zeros, np.float32(0)))
    compiled = jax.jit(adam_step if adam else plain, donate_argnums=tuple(range(len(state))))
    state.insert(0, None)

    def step():
        state[:] = compiled(*state[1:])
        state[0].block_until_ready()

    return step, lambda: result(float(state[0]), jax.device_get(state[1]))
