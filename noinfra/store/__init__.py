"""What we remember: the only SQL, and the PostgreSQL server that we bring along."""
