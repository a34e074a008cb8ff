"""Deep Learning, Equation by Equation: the kernels of the book.

Each chapter of the book has a module of the same name: ``from dlbook import backprop``.
Importing the package loads no chapter and compiles nothing.
"""

__version__ = "0.1.0"
