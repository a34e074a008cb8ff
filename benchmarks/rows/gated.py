"""A training step of an LSTM that reads symbols and of a GRU over features; see the rows of `rnn`."""

from benchmarks.row import OURS
from benchmarks.rows.rnn import BOOK, LARGE, row

ROWS = [
    row(
        "lstm",
        "training step of an LSTM, 32 steps, batch 16, 64 units, 64 symbols, float32",
        "lstm",
        BOOK,
        1.8,
        rtol=1e-4,
    ),
    row(
        "lstm-large",
        "the same with 128 steps, batch 64, 512 units",
        "lstm",
        LARGE,
        1.5,
        rtol=1e-3,
        memory=(OURS, "torch"),
    ),
    row(
        "gru",
        "training step of a GRU, 32 steps, batch 16, 64 units, 64 features, 64 classes, float32",
        "gru",
        BOOK,
        6,
        rtol=1e-4,
    ),
    row(
        "gru-large",
        "the same with 128 steps, batch 64, 512 units, 512 features",
        "gru",
        LARGE | {"inputs": 512},
        2,
        rtol=1e-3,
        memory=(OURS, "torch"),
    ),
]
