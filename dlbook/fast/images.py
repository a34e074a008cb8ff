"""Images with channels last, made larger and moved."""

from dlbook.tools.jit import njit_fast

__all__ = ["place_images", "upsample_backward_into", "upsample_into"]


@njit_fast
def upsample_into(x, y):
    """`upsample` with channels last, s times as large as the shapes say
    (n h w c) -> (n sh sw c)
    """
    s = y.shape[1] // x.shape[1]
    for n in range(x.shape[0]):
        for h in range(y.shape[1]):
            for w in range(y.shape[2]):
                there, here = y[n, h, w], x[n, h // s, w // s]
                for c in range(here.size):
                    there[c] = here[c]


@njit_fast
def upsample_backward_into(dy, dx):
    """`upsample_backward` with channels last
    (n sh sw c) -> (n h w c)
    """
    s = dy.shape[1] // dx.shape[1]
    dx[:] = 0
    for n in range(dx.shape[0]):
        for h in range(dy.shape[1]):
            for w in range(dy.shape[2]):
                there, here = dx[n, h // s, w // s], dy[n, h, w]
                for c in range(here.size):
                    there[c] += here[c]


@njit_fast
def place_images(x, move, images):
    """Copy images, each moved down and right by some pixels; zero elsewhere
    (n h w c), (n 2) -> (n h w c)
    """
    H, W = images.shape[1:3]
    for n in range(x.shape[0]):
        images[n] = 0
        down, right = move[n, 0], move[n, 1]
        for h in range(max(0, -down), min(H, H - down)):
            for w in range(max(0, -right), min(W, W - right)):
                images[n, h + down, w + right] = x[n, h, w]
