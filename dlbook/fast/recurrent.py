"""A simple recurrent layer over rows: all steps on the way up, and back."""

from dlbook.matmul import PANEL_BYTES, multiply, pack
from dlbook.tools.elementary import hyperbolic_tangent
from dlbook.tools.jit import njit_fast

__all__ = [
    "STATE_ACTIVATIONS",
    "activate_backward_into",
    "activate_into",
    "recur_backward_into",
    "recur_into",
]

STATE_ACTIVATIONS = {"tanh": 0, "relu": 1, "linear": 2}


@njit_fast
def activate_into(flat, kind):
    """tanh (0), relu (1) or nothing (2), in place
    (numbers) -> ()
    """
    zero = flat.dtype.type(0)
    if kind == 0:
        for p in range(flat.size):
            flat[p] = hyperbolic_tangent(flat[p])
    elif kind == 1:
        for p in range(flat.size):
            flat[p] = zero if flat[p] < zero else flat[p]


@njit_fast
def recur_into(h, counts, wh, kind, panels):
    """h_t = g(h_t + h_{t−1} whᵀ) in place, where h_t holds wx x_t + b; the first rows are h_0
    (n+r j), (t), (j j), (), (numbers) -> ()
    """
    J = wh.shape[0]
    W = PANEL_BYTES // h.itemsize
    right = panels[: -(-J // W) * W * J].reshape(-(-J // W), J, W)
    pack(wh.T, right)
    flat = h.reshape(-1)
    earlier, now = 0, h.shape[0] - counts.sum()
    for t in range(counts.shape[0]):
        count = counts[t]
        multiply(h[earlier : earlier + count], right, h[now : now + count], True)
        activate_into(flat[now * J : (now + count) * J], kind)
        earlier, now = now, now + count


@njit_fast
def activate_backward_into(delta, h, kind):
    """∂C/∂h becomes ∂C/∂z, from h = g(z)
    (numbers), (numbers) -> ()
    """
    one, zero = h.dtype.type(1), h.dtype.type(0)
    if kind == 0:
        for p in range(h.size):
            delta[p] *= one - h[p] * h[p]
    elif kind == 1:
        for p in range(h.size):
            delta[p] = delta[p] if h[p] > zero else zero


@njit_fast
def recur_backward_into(delta, h, counts, wh, kind, panels, after, dstart):
    """δ_t = g′ (∂C_t/∂h_t + whᵀ δ_{t+1}) in place, where delta holds ∂C_t/∂h_t
    (r j), (n+r j), (t), (j j), (), (numbers), (m j), (n j) -> ()

    `after` is what comes back from steps beyond the last, for the first m of its sequences;
    `dstart` becomes ∂C/∂h_0.
    """
    J = wh.shape[0]
    W = PANEL_BYTES // h.itemsize
    right = panels[: -(-J // W) * W * J].reshape(-(-J // W), J, W)
    pack(wh, right)
    flat, later, R = h.reshape(-1), delta.reshape(-1), delta.shape[0]
    if R == 0:
        dstart[:] = 0
        return
    begin = (h.shape[0] - R) * J
    now = R - counts[-1]
    for m in range(after.shape[0]):
        for j in range(J):
            delta[now + m, j] += after[m, j]
    for t in range(counts.shape[0] - 1, -1, -1):
        first, stop = now * J, (now + counts[t]) * J
        activate_backward_into(later[first:stop], flat[begin + first : begin + stop], kind)
        rows, earlier = delta[now : now + counts[t]], now - (counts[t - 1] if t else 0)
        if t > 0:
            multiply(rows, right, delta[earlier : earlier + counts[t]], True)
        else:
            dstart[:] = 0
            multiply(rows, right, dstart[: counts[0]], False)
        now = earlier
