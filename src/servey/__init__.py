"""Declare a typed function once; serve it everywhere."""

__version__ = "0.1.0"
