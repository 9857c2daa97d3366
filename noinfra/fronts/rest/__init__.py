"""The HTTP API: a frame, and one module for each dialect."""
