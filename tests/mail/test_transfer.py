"""Transfer encodings, as mailers write them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.transfer import transfer_decode


class Base64Tests(SynchronousTestCase):
    """Base64 (RFC 2045, 6.8)."""

    def test_blanks_around_lines(self) -> None:
        """White space around lines is no part of it, however much there is."""
        encoded = b"  aGVs    \r\n bG8g  \r\n   d29y  \t \r\n    bGQ= \r\n\r\n"
        self.assertEqual(transfer_decode(encoded, "base64"), b"hello world")

    def test_prose(self) -> None:
        """Words with blanks between them were never encoded, and stay as they are."""
        prose = b"This was only said\r\nto be in base64\r\n"
        self.assertEqual(transfer_decode(prose, "base64"), prose)
