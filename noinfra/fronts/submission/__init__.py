"""SMTP submission (RFC 6409, 8314): mail programs send from an inbox."""
