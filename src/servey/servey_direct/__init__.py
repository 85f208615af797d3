"""The direct transport: calls actions in this process, without a network."""
