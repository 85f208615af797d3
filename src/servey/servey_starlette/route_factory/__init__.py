"""Routes of the application that are not actions."""
