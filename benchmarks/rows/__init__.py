"""The rows, one module for each chapter or tool. Each has a list ROWS and imports only NumPy."""
