"""Background calls and schedules on many machines, with Celery."""
