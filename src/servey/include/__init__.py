"""Include results of nested actions in a result: ``?include=writer,chapters.length``."""
