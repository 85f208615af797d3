"""The host without a network: actions are called in this process, by the operating system's leave."""
