"""The kernels that run, one concept a file. No page needs them to be followed."""
