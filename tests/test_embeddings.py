"""Words as vectors against sums over one-hot rows, enumeration and small exact problems."""

KERNELS = []
