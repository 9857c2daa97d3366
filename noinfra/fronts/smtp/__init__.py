"""The SMTP server for mail that comes to our domains."""
