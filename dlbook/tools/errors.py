"""Errors of the package that are not one of Python's."""

__all__ = ["DataError"]


class DataError(ValueError):
    """A data set or a file is missing, damaged or not what it should be."""
