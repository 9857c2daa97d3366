"""What the bytes of a mail mean: pure functions and values, where the RFCs live."""
