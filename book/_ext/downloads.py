"""Offer each chapter as a notebook and as its MyST source, linked from its head."""


def setup(app):
    """Connect the hook."""
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
