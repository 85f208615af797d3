"""Background calls: calls that a queue keeps, and that a process makes later, once or again."""
