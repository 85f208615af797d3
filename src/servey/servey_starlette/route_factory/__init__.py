"""Routes of the application that are no actions."""
