"""Bounded measurements on the loopback, beside programs that we did not write.

    bin/bench [--quick] [--json FILE] [NAME ...]

Each measurement is a module with a function that yields the rows of one table as it
finds them. Ours and the peer take turns on the same disk in the same run, so that what
else the machine does falls on both; what is compared are medians of the turns, and the
ratio says more than the figures. Peers come from the system's packages and run with a
configuration of their own in the run's directory, which goes at the end.
"""
