"""Octets to text, whatever the label says."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.charset import codec_name, decode, storable


class CharsetTests(SynchronousTestCase):
    def test_labels(self) -> None:
        """Old and odd labels mean what mailers meant by them."""
        for label, codec in (
            ("UTF8", "utf_8"),
            ("windows-874", "cp874"),
            ("cp-850", "cp850"),
            ("x-sjis", "cp932"),
            ("ks_c_5601-1987", "cp949"),
            ("GB2312", "gb18030"),
            ("iso-8859-8-i", "iso8859_8"),
            ("unicode-1-1-utf-7", "utf_7"),
            ("ISO_8859-1:1987", "cp1252"),
            ('"us-ascii"', "utf_8"),
            ("koi8-r; format=flowed", "koi8_r"),
        ):
            self.assertEqual(codec_name(label), codec, label)

    def test_not_character_sets(self) -> None:
        """Python's other codecs, and invented names, are unknown."""
        for label in (
            "rot13",
            "base64",
            "zlib",
            "idna",
            "unicode_escape",
            "mbcs",
            "",
            "x" * 99,
        ):
            self.assertIsNone(codec_name(label), label)

    def test_right(self) -> None:
        """A true label makes no defect."""
        for text, label in (("é€", "utf-8"), ("é€", "windows-1252"), ("日本", "iso-2022-jp"),
                            ("한국", "euc-kr"), ("中文", "big5"), ("ñ", "utf-7")):  # fmt: skip
            self.assertEqual(decode(text.encode(label), label), (text, False))
        self.assertEqual(decode(b"plain", None), ("plain", False))

    def test_wrong(self) -> None:
        """A false or missing label is seen through, and noted."""
        for octets, label, text in (
            ("é".encode(), "us-ascii", "é"),
            (b"caf\xe9", "us-ascii", "café"),
            (b"caf\xe9", "utf-8", "café"),
            ("é".encode(), None, "é"),
            (b"\x93x\x94", None, "“x”"),
            ("é".encode(), "x-unknown", "é"),
            ("日本".encode(), "iso-2022-jp", "日本"),
            ("日本".encode("iso-2022-jp"), None, "日本"),
        ):
            self.assertEqual(decode(octets, label), (text, True))

    def test_cut(self) -> None:
        """UTF-8 that was cut in a character stays UTF-8."""
        text, defect = decode("grüße an alle".encode()[:-1] + b"\xc3", "utf-8")
        self.assertTrue(defect)
        self.assertEqual(text, "grüße an all\ufffd")

    def test_superset(self) -> None:
        """iso-8859-1 is read as windows-1252, whose free octets are controls."""
        self.assertEqual(decode(b"\x80\x81", "iso-8859-1"), ("€\x81", False))

    def test_storable(self) -> None:
        """No NUL and no lone surrogate comes out; a pair becomes its character."""
        self.assertEqual(storable("a\0b"), "ab")
        self.assertEqual(storable("\ud83d\ude00 \ud83d"), "😀 \ufffd")
        self.assertNotIn("\ud83d", decode(b"+2D0-", "utf-7")[0])

    @settings(deadline=None, max_examples=500)
    @given(
        st.binary(max_size=60),
        st.none()
        | st.text(max_size=20)
        | st.sampled_from(["utf-7", "utf-16", "hz", "gb18030", "iso-2022-kr", "johab"]),
    )
    def test_total(self, octets: bytes, label: str | None) -> None:
        """Any octets under any label give text that can be stored."""
        text, _ = decode(octets, label)
        self.assertNotIn("\0", text)
        text.encode()
