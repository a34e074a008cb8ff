"""Layers, models that are made of them, and what checks a model."""
