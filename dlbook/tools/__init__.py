"""What the chapters share and what is not mathematics."""
