"""The pages in a real browser; a package, so that its modules can import one another."""
