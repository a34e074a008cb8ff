"""The peers are compared in double precision, one thread, and must be there."""

import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
