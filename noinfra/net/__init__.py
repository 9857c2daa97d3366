"""How we reach others: names, and the servers of those we write to."""
