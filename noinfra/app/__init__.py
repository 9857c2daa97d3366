"""What we do: use cases, one method for each thing that a caller can ask."""
