"""What only whole processes can show: reloading, workers, signals."""
