"""Schedules: triggers whose times are known in advance, and the calls that they make due."""
