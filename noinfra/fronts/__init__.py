"""How one asks us: each front translates a protocol and decides nothing."""
