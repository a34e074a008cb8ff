"""dlbook against what a reader would pick instead, side by side on one machine.

`make bench`, or ``python -m benchmarks --help``. A row is data: see `benchmarks.row` for its fields,
`benchmarks.rows` for the rows that exist. `machine` says what they ran on, `run` checks and times
them, `report` turns the raw numbers into ratios and tables, also for the page *Performance*.
"""
