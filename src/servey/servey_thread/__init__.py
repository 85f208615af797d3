"""Schedules and background calls on one machine: a queue and a store in an SQLite file."""
