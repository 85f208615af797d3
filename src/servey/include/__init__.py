"""Results of nested actions together with a result: ``?include=writer,chapters.length``."""
