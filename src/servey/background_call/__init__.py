"""Background calls: a queue stores them, and a server or a worker makes them later."""
