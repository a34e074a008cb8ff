"""Vision: learned features used again, a class for every pixel, boxes around what is found.

Page: ``book/vision.md``. Builds on `linear_classification` (softmax regression), `neurons` (the
rectifier) and `convolution`. `dlbook.nets` has the layers and networks.

Sources: Yosinski et al., NeurIPS (2014), for transfer; Long, Shelhamer & Darrell, CVPR (2015), for
a class at every pixel; Zeiler et al., CVPR (2010), and Noh, Hong & Han, ICCV (2015), for transposed
convolution and unpooling; Girshick, ICCV (2015), and Ren et al., NeurIPS (2015), for the coding of
boxes and the smooth absolute value; Everingham et al., IJCV 88 (2010), for matching and average
precision.

Axes: n images or examples; c channels in, o channels out; h, w rows and columns; i, j those of a
larger or smaller map; u, v rows and columns of a filter; k classes; d inputs, p features; m boxes
found, g true ones. The capital is the count. S is a stride and P a padding, both the same down and
across.

Names: a box is (y0, x0, y1, x1), its rows and columns from y0 and x0 up to, and without, y1 and
x1: y1 − y0 is its height. ȳ, x̄ are its middle and Δy, Δx its sides; s is its code by an anchor.
In a detector q counts the cells of an image. t holds true labels; dz = ∂C/∂z and so on for every
other letter.
"""
# ruff: noqa: E741

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from dlbook.convolution import pad
from dlbook.fast.conv import adjoint, memory
from dlbook.linear_classification import (
    logistic_loss,
    scores,
    sigmoid,
    softmax_cross_entropy,
    softmax_cross_entropy_gradient,
)
from dlbook.neurons import relu
from dlbook.tools import shapes
from dlbook.tools.jit import check_indices, njit

__all__ = [
    "adjoint_products",
    "average_precision",
    "bilinear_kernel",
    "box_area",
    "box_iou",
    "class_iou",
    "conv_transpose2d",
    "decode_boxes",
    "detection_ap",
    "detection_cost",
    "detection_cost_backward",
    "encode_boxes",
    "fine_tune_grad",
    "frozen_grad",
    "inner",
    "iou",
    "match",
    "max_pool_where",
    "max_unpool",
    "max_unpool_backward",
    "mean_iou",
    "nms",
    "pixel_cross_entropy",
    "pixel_cross_entropy_backward",
    "precision_recall",
    "segment_iou",
    "smooth_l1",
    "smooth_l1_slope",
    "suppress",
    "transposed_conv",
    "transposed_conv_backward",
    "transposed_size",
    "upsampled_size",
]


# Transfer: a head on features, and the layer that makes them


@njit(whole="t")
def frozen_grad(a, w, b, t):
    """(vision-frozen)  dw_kp = Σ_n δ_nk a_np,  db_k = Σ_n δ_nk
    δ_nk = (p_nk − [k = t_n]) / N
    (n p), (k p), (k), (n) -> (k p), (k)
    """
    delta = softmax_cross_entropy_gradient(scores(a, w, b), t)
    dw, db = np.zeros_like(w), np.zeros_like(b)
    for n in range(len(a)):
        for k in range(len(w)):
            db[k] += delta[n, k]
            for p in range(w.shape[1]):
                dw[k, p] += delta[n, k] * a[n, p]
    return dw, db


@njit(whole="t")
def fine_tune_grad(x, v, c, w, b, t):
    """(vision-fine-tune)  dv_pd = Σ_n δ_np x_nd,  dc_p = Σ_n δ_np,
    δ_np = [a_np > 0] Σ_k δ_nk w_kp,  a_np = relu(c_p + Σ_d v_pd x_nd)
    (n d), (p d), (p), (k p), (k), (n) -> (p d), (p)
    """
    a = relu(scores(x, v, c))
    above = softmax_cross_entropy_gradient(scores(a, w, b), t)
    dv, dc = np.zeros_like(v), np.zeros_like(c)
    for n, p in np.ndindex(a.shape):
        if a[n, p].real > 0:
            delta = np.sum(above[n] * w[:, p])
            dc[p] += delta
            for d in range(x.shape[1]):
                dv[p, d] += delta * x[n, d]
    return dv, dc


# A class for every pixel


@njit(whole="t")
def pixel_cross_entropy(z, t):
    """(vision-pixel-ce)  C = 1/(NHW) Σ_nhw (log Σ_k e^(z_nkhw) − z_{n,t_nhw,h,w})
    (n k h w), (n h w) -> ()
    """
    N, K, H, W = z.shape
    total = np.zeros(N, z.dtype)
    for n, h, w in np.ndindex(N, H, W):
        pixel = z[n, :, h, w].copy().reshape(1, K)
        total[n] += softmax_cross_entropy(pixel, t[n, h, w : w + 1])
    return np.sum(total) / (N * H * W)


@njit(whole="t")
def pixel_cross_entropy_backward(z, t):
    """(vision-pixel-ce-backward)  dz_nkhw = (p_nkhw − [k = t_nhw]) / (NHW)
    (n k h w), (n h w) -> (n k h w)
    """
    N, K, H, W = z.shape
    dz = np.empty_like(z)
    for n, h, w in np.ndindex(N, H, W):
        pixel = z[n, :, h, w].copy().reshape(1, K)
        delta = softmax_cross_entropy_gradient(pixel, t[n, h, w : w + 1])
        for k, d in enumerate(delta.flat):
            dz[n, k, h, w] = d / (N * H * W)
    return dz


@njit(whole="t u")
def class_iou(t, u, K):
    """(vision-class-iou)  IoU_k = Σ [t = k and u = k] / Σ [t = k or u = k], else NaN
    (n h w), (n h w), () -> (k)
    """
    share = np.empty(K)
    for k in range(K):
        both, either = 0, 0
        for at in np.ndindex(t.shape):
            both += t[at] == k and u[at] == k
            either += t[at] == k or u[at] == k
        share[k] = both / either if either else np.nan
    return share


@njit(whole="t u")
def mean_iou(t, u, K):
    """(vision-mean-iou)  Σ_k IoU_k / K', over the K' classes that one of the maps has
    (n h w), (n h w), () -> ()
    """
    total = 0.0
    there = 0
    for share in class_iou(t, u, K):
        if not np.isnan(share):
            total += share
            there += 1
    return total / there


# Up again: unpooling


@njit
def max_pool_where(x, size):
    """(vision-pool-where)  y_ncij = x_ncq, q = argmax in window (i, j)
    (n c h w), (U V) -> (n c i j), (n c i j), and q = hW + w, the first
    """
    (N, C, H, W), (U, V) = x.shape, size
    y = np.empty((N, C, H // U, W // V), x.dtype)
    where = np.empty(y.shape, np.int64)
    for n, c, i, j in np.ndindex(y.shape):
        best = i * U, j * V
        for u, v in np.ndindex(U, V):
            at = x[n, c, i * U + u, j * V + v]
            if at > x[n, c, best[0], best[1]] or np.isnan(at):
                best = i * U + u, j * V + v
        y[n, c, i, j] = x[n, c, best[0], best[1]]
        where[n, c, i, j] = best[0] * W + best[1]
    return y, where


@njit(whole="where")
def max_unpool(y, where, H, W):
    """(vision-max-unpool)  x_ncq = y_ncij at q = where_ncij, zero elsewhere
    (n c i j), (n c i j), (), () -> (n c h w)
    """
    check_indices(where, H * W)
    x = np.zeros((y.shape[0], y.shape[1], H, W), y.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        q = where[n, c, i, j]
        x[n, c, q // W, q % W] = y[n, c, i, j]
    return x


@njit(whole="where")
def max_unpool_backward(dx, where):
    """(vision-unpool-backward)  dy_ncij = dx_ncq at q = where_ncij
    (n c h w), (n c i j) -> (n c i j)
    """
    H, W = dx.shape[2:]
    check_indices(where, H * W)
    dy = np.empty(where.shape, dx.dtype)
    for n, c, i, j in np.ndindex(where.shape):
        q = where[n, c, i, j]
        dy[n, c, i, j] = dx[n, c, q // W, q % W]
    return dy


# Up again: transposed convolution


@njit
def transposed_size(H, U, stride, padding):
    """(vision-transposed-size)  I = (H − 1) S + U − 2P
    (), (), (), () -> ()
    """
    return (H - 1) * stride + U - 2 * padding


@njit
def transposed_conv(y, w, b, stride, padding):
    """(vision-transposed-conv)  z_noij = b_o,  z_n,o,hS+u−P,wS+v−P += w_couv y_nchw
    (n c h w), (c o u v), (o), (), () -> (n o i j)
    """
    (N, C, H, W), (_, O, U, V) = y.shape, w.shape
    I = transposed_size(H, U, stride, padding)
    J = transposed_size(W, V, stride, padding)
    z = np.empty((N, O, I, J), y.dtype)
    for n, o in np.ndindex(N, O):
        z[n, o] = b[o]
        for c, h, x in np.ndindex(C, H, W):
            for u, v in np.ndindex(U, V):
                i, j = h * stride + u - padding, x * stride + v - padding
                if 0 <= i < I and 0 <= j < J:
                    z[n, o, i, j] += w[c, o, u, v] * y[n, c, h, x]
    return z


@njit
def inner(x, y):
    """⟨x, y⟩, the sum of the products of numbers at the same place
    (any shape), (the same shape) -> ()
    """
    total = np.zeros(len(x), x.dtype)
    for at in np.ndindex(x.shape):
        total[at[0]] += x[at] * y[at]
    return np.sum(total)


@njit
def adjoint_products(x, y, w, stride, padding):
    """(vision-adjoint)  ⟨A x, y⟩ and ⟨x, Aᵀ y⟩
    (n o i j), (n c h w), (c o u v), (), () -> (), ()
    """
    (_, O, U, V), S = w.shape, stride
    framed, down = pad(x, padding, padding, 0.0), np.empty_like(y)
    for n, c, h, k in np.ndindex(y.shape):
        window = framed[n, :, h * S : h * S + U, k * S : k * S + V]
        down[n, c, h, k] = inner(w[c], window)
    up = transposed_conv(y, w, np.zeros(O, w.dtype), S, padding)
    return inner(down, y), inner(x, up)


@njit
def transposed_conv_backward(dz, y, w, stride, padding):
    """(vision-transposed-backward)  dy_nchw += w_couv dz_noij,  dw_couv += y_nchw dz_noij,
    db_o += dz_noij,  where i = hS + u − P and j = wS + v − P are inside
    (n o i j), (n c h w), (c o u v), (), () -> (n c h w), (c o u v), (o)
    """
    (N, C, H, W), (_, O, U, V), (I, J) = y.shape, w.shape, dz.shape[2:]
    dy, dw, db = np.zeros_like(y), np.zeros_like(w), np.zeros(O, dz.dtype)
    for n, o in np.ndindex(N, O):
        db[o] += np.sum(dz[n, o])
        for c, h, x in np.ndindex(C, H, W):
            for u, v in np.ndindex(U, V):
                i, j = h * stride + u - padding, x * stride + v - padding
                if 0 <= i < I and 0 <= j < J:
                    dy[n, c, h, x] += w[c, o, u, v] * dz[n, o, i, j]
                    dw[c, o, u, v] += y[n, c, h, x] * dz[n, o, i, j]
    return dy, dw, db


@njit
def bilinear_kernel(U):
    """(vision-bilinear)  w_uv = r_u r_v,  r_u = 1 − |u − (U − 1)/2| / ⌈U/2⌉
    () -> (u u)
    """
    r, w = np.empty(U), np.empty((U, U))
    for u in range(U):
        r[u] = 1 - abs(u - (U - 1) / 2) / ((U + 1) // 2)
    for u, v in np.ndindex(U, U):
        w[u, v] = r[u] * r[v]
    return w


# Boxes


@njit
def box_area(box):
    """height times width
    (4) -> ()
    """
    return (box[2] - box[0]) * (box[3] - box[1])


@njit
def box_iou(a, b):
    """(vision-iou)  IoU_mg = |a_m ∩ b_g| / |a_m ∪ b_g|, or 0
    (m 4), (g 4) -> (m g)
    """
    share = np.zeros((len(a), len(b)), a.dtype)
    for m in range(len(a)):
        for g in range(len(b)):
            h = min(a[m, 2], b[g, 2]) - max(a[m, 0], b[g, 0])
            w = min(a[m, 3], b[g, 3]) - max(a[m, 1], b[g, 1])
            both = h * w if h > 0 and w > 0 else 0.0
            union = box_area(a[m]) + box_area(b[g]) - both
            if union != 0:
                share[m, g] = both / union
    return share


@njit
def encode_boxes(box, anchor):
    """(vision-box-encode)  ((ȳ − ȳ')/Δy', (x̄ − x̄')/Δx', log Δy/Δy', log Δx/Δx')
    (m 4), (m 4) -> (m 4), middles and sides, primed those of anchors
    """
    code = np.empty_like(box)
    for m in range(len(box)):
        for low, high in ((0, 2), (1, 3)):  # rows, columns
            own = anchor[m, high] - anchor[m, low]
            middle = (box[m, low] + box[m, high]) / 2
            start = (anchor[m, low] + anchor[m, high]) / 2
            code[m, low] = (middle - start) / own
            code[m, high] = np.log((box[m, high] - box[m, low]) / own)
    return code


@njit
def decode_boxes(code, anchor):
    """(vision-box-decode)  ȳ = ȳ' + Δy' s_0,  Δy = Δy' e^(s_2), and so for x
    (m 4), (m 4) -> (m 4), as (ȳ − Δy/2, x̄ − Δx/2, ȳ + Δy/2, x̄ + Δx/2)
    """
    box = np.empty_like(code)
    for m in range(len(code)):
        for low, high in ((0, 2), (1, 3)):  # rows, columns
            own = anchor[m, high] - anchor[m, low]
            start = (anchor[m, low] + anchor[m, high]) / 2
            middle = start + own * code[m, low]
            half = own * np.exp(code[m, high]) / 2
            box[m, low], box[m, high] = middle - half, middle + half
    return box


@njit
def smooth_l1(r):
    """(vision-smooth-l1)  ½ r² where |r| < 1, else |r| − ½
    (any shape) -> (the same shape)
    """
    cost = np.empty_like(r)
    for i, v in enumerate(r.flat):
        cost.flat[i] = v * v / 2 if abs(v) < 1 else abs(v) - 0.5
    return cost


@njit
def smooth_l1_slope(r):
    """(vision-smooth-l1-slope)  r where |r| < 1, else the sign of r
    (any shape) -> (the same shape)
    """
    slope = np.empty_like(r)
    for i, v in enumerate(r.flat):
        slope.flat[i] = v if abs(v) < 1 else np.sign(v)
    return slope


@njit(whole="chi t")
def detection_cost(eta, z, s, chi, t, code, weight):
    """(vision-detection-cost)  C = 1/N Σ_nq (log(1 + e^η_nq) − χ_nq η_nq)
    + Σ_{nq: χ=1} (log Σ_k e^z_nqk − z_nq,t + λ Σ_r ℓ(s_nqr − s*_nqr)) / N
    (n q), (n q k), (n q 4), (n q), (n q), (n q 4), () -> ()
    """
    total = np.empty(len(z), z.dtype)
    for n in range(len(z)):
        total[n] = np.sum(logistic_loss((2 * chi[n] - 1) * eta[n]))
        for q in range(chi.shape[1]):
            if chi[n, q]:
                at = slice(q, q + 1)
                total[n] += softmax_cross_entropy(z[n, at], t[n, at])
                total[n] += weight * np.sum(smooth_l1(s[n, q] - code[n, q]))
    return np.sum(total) / len(z)


@njit(whole="chi t")
def detection_cost_backward(eta, z, s, chi, t, code, weight):
    """(vision-detection-backward)  dη_nq = (σ(η_nq) − χ_nq) / N,  and where χ_nq = 1
    dz_nqk = (p_nqk − [k = t_nq]) / N, ds_nqr = λ ℓ'(s_nqr − s*_nqr) / N
    (n q), (n q k), (n q 4), (n q), (n q), (n q 4), ()
    -> (n q), (n q k), (n q 4)
    """
    de, dz, ds = np.empty_like(eta), np.zeros_like(z), np.zeros_like(s)
    N = len(z)
    for n, q in np.ndindex(chi.shape):
        de[n, q] = (sigmoid(eta[n, q]) - chi[n, q]) / N
        if chi[n, q]:
            at = slice(q, q + 1)
            off = softmax_cross_entropy_gradient(z[n, at], t[n, at])
            slope = smooth_l1_slope(s[n, q] - code[n, q])
            dz[n, at], ds[n, q] = off / N, weight * slope / N
    return de, dz, ds


@njit
def nms(boxes, scores, threshold):
    """(vision-nms)  m is kept if IoU(m, l) ≤ τ for all l kept before it
    (m 4), (m), () -> (kept), positions in order of falling scores
    """
    share = box_iou(boxes, boxes)
    kept, K = np.empty(len(boxes), np.int64), 0
    for m in np.argsort(-scores, kind="mergesort"):
        free = True
        for other in kept[:K]:
            free = free and share[m, other] <= threshold
        if free:
            kept[K] = m
            K += 1
    return kept[:K]


# Judging what is found


@njit
def match(found, scores, truth, threshold):
    """(vision-match)  hit_m = [max IoU(m, g) of free g ≥ θ], surest first
    (m 4), (m), (g 4), () -> (m), in the order given; the threshold is > 0
    """
    share = box_iou(found, truth)
    hits = np.zeros(len(found), np.bool_)
    free = np.ones(len(truth), np.bool_)
    for m in np.argsort(-scores, kind="mergesort"):
        if np.any(free):
            offered = share[m] * free
            best = np.argmax(offered)
            if offered[best] >= threshold:
                hits[m], free[best] = True, False
    return hits


@njit
def precision_recall(hits, count):
    """(vision-precision-recall)  Σ_{l≤m} hit_l / m and Σ_{l≤m} hit_l / G
    (m), () -> (m), (m), in order of falling scores, m from 1
    """
    precision, recall = np.empty(len(hits)), np.empty(len(hits))
    right = 0.0
    for m in range(len(hits)):
        right += hits[m]
        precision[m], recall[m] = right / (m + 1), right / count
    return precision, recall


@njit
def average_precision(hits, count):
    """(vision-average-precision)  AP = Σ_m precision_m (recall_m − recall_{m−1}), recall_0 = 0
    (m), () -> (), in order of falling scores
    """
    precision, recall = precision_recall(hits, count)
    total, before = 0.0, 0.0
    for m in range(len(hits)):
        total += precision[m] * (recall[m] - before)
        before = recall[m]
    return total


# Public functions


def upsampled_size(size: int, window: int, stride: int = 1, padding: int = 0) -> int:
    """Return how many rows, or columns, a transposed convolution makes.

    Parameters
    ----------
    size, window : int
        Pixels of the map and of the filter along this axis.
    stride : int
        Pixels from one copy of the filter to the next.
    padding : int
        Pixels that are cut off at either end.

    Returns
    -------
    int
        (H − 1) S + U − 2P.

    Raises
    ------
    ValueError
        If nothing is left; the message holds the formula with the numbers in it.
    """
    H, U = shapes.count("size", size), shapes.count("window", window)
    S, P = shapes.count("stride", stride), shapes.count("padding", padding, least=0)
    found = int(transposed_size(H, U, S, P))
    if found < 1:
        raise ValueError(
            f"nothing is left: (H − 1)·S + U − 2P = ({H} − 1)·{S} + {U} − 2·{P} = {found}, "
            f"expected 1 or more"
        )
    return found


def conv_transpose2d(
    y: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
) -> np.ndarray:
    """Return what a transposed convolution makes of maps.

    Parameters
    ----------
    y : array_like, shape (n, c, h, w)
        Maps.
    w : array_like, shape (c, o, u, v)
        Filters, as of the convolution from o to c channels whose adjoint this is.
    b : array_like, shape (o,), optional
        Biases; zero where not given.
    stride, padding : int
        Of that convolution, the same down and across.

    Returns
    -------
    ndarray, shape (n, o, i, j)
        Of the dtype of `y`; i and j as `upsampled_size` gives them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, or nothing is left of a map.
    """
    axes = shapes.Axes()
    y = axes.floats("y", y, "n c h w", finite=False)
    w = axes.floats("w", w, "c o u v", finite=False).astype(y.dtype)
    (N, _, *sides), (_, O, *filters) = y.shape, w.shape
    b = np.zeros(O) if b is None else axes.floats("b", b, "o", finite=False)
    I, J = (upsampled_size(s, f, stride, padding) for s, f in zip(sides, filters, strict=True))
    z = np.empty((N, I, J, O), y.dtype)
    last = np.ascontiguousarray(y.transpose(0, 2, 3, 1))
    how = (stride, stride), (padding, padding), (1, 1), 1
    adjoint(last, w, b.astype(y.dtype), how, memory(z.shape, w.shape, last.shape, how, y.dtype), z)
    return np.ascontiguousarray(z.transpose(0, 3, 1, 2))


def segment_iou(t: ArrayLike, u: ArrayLike, classes: int) -> np.ndarray:
    """Return the intersection over union of each class of two maps of labels.

    Parameters
    ----------
    t, u : array_like of int, shape (n, h, w)
        True labels and predicted ones, 0 … classes − 1.
    classes : int
        How many classes there are.

    Returns
    -------
    ndarray, shape (classes,)
        NaN for a class that neither map has: leave it out of a mean (`numpy.nanmean`).
    """
    axes, classes = shapes.Axes(), shapes.count("classes", classes)
    t = axes.labels("t", t, "n h w", classes)
    return class_iou(t, axes.labels("u", u, "n h w", classes), classes)


def _boxes(axes, name, boxes, letter):
    """Return boxes (letter 4), perhaps none, whose ends do not lie before their beginnings."""
    boxes = shapes.array(name, boxes)
    boxes = np.empty((0, 4)) if boxes.shape == (0,) else boxes  # an empty list
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} has shape {boxes.shape}, expected ({letter}, 4): y0, x0, y1, x1")
    boxes = axes.floats(name, boxes, f"{letter} four", empty=True)
    wrong = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
    if wrong.any():
        m = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{name} holds the box {boxes[m].tolist()} at index {m}, which ends before it "
            f"begins; expected y0 ≤ y1 and x0 ≤ x1 in (y0, x0, y1, x1)"
        )
    return boxes


def iou(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Return the intersection over union of every box of one list with every box of another.

    Parameters
    ----------
    a, b : array_like, shapes (m, 4) and (g, 4)
        Boxes (y0, x0, y1, x1), perhaps none.

    Returns
    -------
    ndarray, shape (m, g)
        0 for two boxes without area, also for such a box and itself.

    Raises
    ------
    TypeError, ValueError
        If the boxes are not finite or have another shape, or one ends before it begins.
    """
    return box_iou(_boxes(shapes.Axes(), "a", a, "m"), _boxes(shapes.Axes(), "b", b, "g"))


def _scored(axes, names, boxes, scores):
    """Return boxes and their scores."""
    boxes = _boxes(axes, names[0], boxes, "m")
    return boxes, axes.floats(names[1], scores, "m", empty=True)


def suppress(boxes: ArrayLike, scores: ArrayLike, threshold: float = 0.5) -> np.ndarray:
    """Return the positions of the boxes that non-maximum suppression keeps.

    Parameters
    ----------
    boxes : array_like, shape (m, 4)
        Boxes (y0, x0, y1, x1), perhaps none.
    scores : array_like, shape (m,)
        How sure each is; of equal ones the first goes first.
    threshold : float
        A box goes if its intersection over union with one that is kept is more than this.

    Returns
    -------
    ndarray of int64
        In order of falling scores.
    """
    threshold = shapes.number("threshold", threshold, least=0, most=1)
    return nms(*_scored(shapes.Axes(), ("boxes", "scores"), boxes, scores), threshold)


def detection_ap(
    found: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    truth: Sequence[ArrayLike],
    threshold: float = 0.5,
) -> float:
    """Return the average precision of boxes found in several images.

    Parameters
    ----------
    found, scores, truth : sequence of array_like, shapes (m, 4), (m,) and (g, 4)
        For each image the boxes that were found, how sure each is, and the true ones; each may
        be empty.
    threshold : float
        Least intersection over union of a hit, above 0.

    Returns
    -------
    float
        NaN if there is no true box in any image: leave such a class out of a mean.
    """
    threshold = shapes.number("threshold", threshold, above=0, most=1)
    if not len(found) == len(scores) == len(truth):
        raise ValueError(
            f"found, scores and truth are of {len(found)}, {len(scores)} and {len(truth)} images"
        )
    hits, sure, count = [np.empty(0, bool)], [np.empty(0)], 0
    for n, (boxes, s, true) in enumerate(zip(found, scores, truth, strict=True)):
        boxes, s = _scored(shapes.Axes(), (f"found[{n}]", f"scores[{n}]"), boxes, s)
        true = _boxes(shapes.Axes(), f"truth[{n}]", true, "g")
        hits.append(match(boxes, s, true, threshold))
        sure.append(s)
        count += len(true)
    order = np.argsort(-np.concatenate(sure), kind="stable")
    return average_precision(np.concatenate(hits)[order], count) if count else np.nan
