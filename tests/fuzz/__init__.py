"""Changed and made-up input for every way by which something from outside enters: `make fuzz`.

One file a kind of input; `engine` draws, runs and judges the cases, `__main__` is the command.
"""
