"""Octets to text, whatever the sender says that they are.

The label is a claim, and often a false one. So it is looked up in a closed table, never
by codecs.lookup, which imports modules by name, offers codecs that are not character
sets (rot13, unicode_escape), and remembers each unknown name for ever. Old labels mean
the superset that mailers really send, as the WHATWG Encoding Standard has it: gb2312 is
gb18030, iso-8859-1 is windows-1252. What comes out always fits a PostgreSQL text: no
NUL, no lone surrogate.
"""

import codecs
from encodings.aliases import aliases

# fmt: off
_PYTHON_CODECS = (
    "big5", "big5hkscs", "cp037", "cp437", "cp500", "cp720", "cp737", "cp775",
    "cp850", "cp852", "cp855", "cp857", "cp858", "cp860", "cp861", "cp862",
    "cp863", "cp864", "cp865", "cp866", "cp869", "cp874", "cp932", "cp949",
    "cp950", "cp1125", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254",
    "cp1255", "cp1256", "cp1257", "cp1258", "euc_jp", "euc_jis_2004", "euc_kr",
    "gb18030", "hz", "iso2022_jp", "iso2022_jp_1", "iso2022_jp_2",
    "iso2022_jp_3", "iso2022_jp_2004", "iso2022_jp_ext", "iso2022_kr",
    "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5", "iso8859_6",
    "iso8859_7", "iso8859_8", "iso8859_10", "iso8859_13", "iso8859_14",
    "iso8859_15", "iso8859_16", "johab", "koi8_r", "koi8_t", "koi8_u", "kz1048",
    "mac_cyrillic", "mac_greek", "mac_iceland", "mac_latin2", "mac_roman",
    "mac_turkish", "ptcp154", "shift_jis_2004", "utf_16", "utf_16_be",
    "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "utf_7", "utf_8",
)
# fmt: on

# What a codec's name stands for in mail: a superset of it.
_WIDER = {
    "ascii": "utf_8",
    "latin_1": "cp1252",
    "iso8859_1": "cp1252",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "tis_620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "shift_jisx0213": "shift_jis_2004",
    "euc_jisx0213": "euc_jis_2004",
}

# Labels of mail that Python has no alias for; compared without "-" and "_".
_EXTRA = {
    "88591i": "cp1252",
    "ansi": "cp1252",
    "ansix341968": "utf_8",
    "big5eten": "big5",
    "cnbig5": "big5",
    "cngb": "gb18030",
    "csiso88598e": "iso8859_8",
    "csiso88598i": "iso8859_8",
    "cskoi8r": "koi8_r",
    "csunicode11utf7": "utf_7",
    "csutf7": "utf_7",
    "cswindows31j": "cp932",
    "doscp850": "cp850",
    "eucgb2312cn": "gb18030",
    "gb180302022": "gb18030",
    "gb231280": "gb18030",
    "hzgb2312": "hz",
    "iso88596e": "iso8859_6",
    "iso88596i": "iso8859_6",
    "iso88598e": "iso8859_8",
    "iso88598i": "iso8859_8",
    "koi": "koi8_r",
    "koi8": "koi8_r",
    "koi8ru": "koi8_u",
    "ksc56011987": "cp949",
    "ksc56011989": "cp949",
    "macintosh": "mac_roman",
    "mscyrl": "cp1251",
    "mskanji": "cp932",
    "shiftjis": "cp932",
    "sjis": "cp932",
    "unicode": "utf_16",
    "unicode11utf7": "utf_7",
    "unicode11utf8": "utf_8",
    "unicode20utf8": "utf_8",
    "unicode20utf7": "utf_7",
    "utf8mb4": "utf_8",
    "windows31j": "cp932",
    "windows949": "cp949",
    "windows874": "cp874",
    "xcp1251": "cp1251",
    "xcp1252": "cp1252",
    "xeuc": "euc_jp",
    "xeucjp": "euc_jp",
    "xgbk": "gb18030",
    "xmaccyrillic": "mac_cyrillic",
    "xmacroman": "mac_roman",
    "xmscp932": "cp932",
    "xsjis": "cp932",
    "xuserdefined": "cp1252",
    "xwindows949": "cp949",
    "xxbig5": "big5",
    "xxbig5eten": "big5",
}

# Tried in turn when the first cannot read it.
_FALLBACKS = {
    "big5": ("cp950", "big5hkscs"),
    "cp932": ("shift_jis_2004",),
    "cp949": ("johab",),
    "euc_jp": ("euc_jis_2004",),
    "iso2022_jp": ("iso2022_jp_2", "iso2022_jp_3", "iso2022_jp_ext"),
}

_LONGEST_LABEL = 64


def _fold(label: str) -> str:
    return label.replace("-", "").replace("_", "").replace(" ", "")


def _codec_table() -> dict[str, str]:
    known = {codec: codec for codec in _PYTHON_CODECS} | _WIDER
    table = {_fold(codec): target for codec, target in known.items()}
    for alias, codec in aliases.items():
        if codec in known:
            table[_fold(alias)] = known[codec]
    for codec in _PYTHON_CODECS:
        if codec.startswith("cp"):
            for prefix in ("windows", "ibm", "ms", "xcp", "dos"):
                table.setdefault(prefix + codec[2:], codec)
    return table | _EXTRA


_CODECS = _codec_table()
# What nine labels of ten are, to the letter.
_USUAL = {
    label: _CODECS[_fold(label.lower())]
    for label in ("utf-8", "UTF-8", "us-ascii", "US-ASCII", "iso-8859-1", "ISO-8859-1")
}


def codec_name(charset: str) -> str | None:
    """The Python codec that reads this label, or None for an unknown one."""
    usual = _USUAL.get(charset)
    if usual is not None:
        return usual
    label = charset.strip(" \t\"'<>[];,").lower()
    if len(label) > _LONGEST_LABEL:
        return None
    # Some write charset="utf-8; format=flowed" or "utf-8 (Unicode)".
    for end in (";", " ", "(", "*", ":"):
        label = label.partition(end)[0]
    return _CODECS.get(_fold(label))


def decode(octets: bytes, charset: str | None) -> tuple[str, bool]:
    """The text, and whether the label was missing where needed, unknown or wrong."""
    codec = "utf_8" if charset is None else codec_name(charset)
    if codec is None:
        return _guess(octets), True
    if codec == "utf_8":
        return _decode_utf8(octets, charset)
    for candidate in (codec, *_FALLBACKS.get(codec, ())):
        text = _strictly(octets, candidate)
        if text is not None:
            return storable(text), False
    return _decode_mislabelled(octets, codec), True


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: NUL and lone surrogates."""
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Surrogates that pair become the character that they mean, others U+FFFD.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _decode_utf8(octets: bytes, charset: str | None) -> tuple[str, bool]:
    octets = octets.removeprefix(codecs.BOM_UTF8)
    if octets.isascii():
        # ISO-2022-JP is seven bits wide, and was once sent without a label.
        if charset is None and b"\x1b$" in octets:
            text = _strictly(octets, "iso2022_jp_ext")
            if text is not None:
                return storable(text), True
        return storable(octets.decode("ascii")), False
    text = _strictly(octets, "utf_8")
    if text is None:
        return _guess(octets), True
    claimed = charset is not None and codec_name(charset) == "utf_8"
    ascii_claimed = claimed and charset is not None and "utf" not in charset.lower()
    return storable(text), ascii_claimed or not claimed


def _strictly(octets: bytes, codec: str) -> str | None:
    if codec == "cp1252":
        return _decode_cp1252(octets)
    if codec == "utf_16" and octets[:2] not in (
        codecs.BOM_UTF16_LE,
        codecs.BOM_UTF16_BE,
    ):
        codec = "utf_16_be"  # RFC 2781, 4.3
    try:
        return octets.decode(codec)
    except (UnicodeError, ValueError):
        return None


def _decode_cp1252(octets: bytes) -> str:
    """Windows-1252; the five octets that it leaves free are C1 controls."""
    try:
        return octets.decode("cp1252")
    except UnicodeDecodeError:
        return "".join(map(_CP1252.__getitem__, octets))


def _cp1252_character(octet: int) -> str:
    try:
        return bytes([octet]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(octet)


_CP1252 = tuple(map(_cp1252_character, range(256)))


def _guess(octets: bytes) -> str:
    """UTF-8 if most of it is, for it may be cut or spoilt, else Windows-1252."""
    text = octets.decode("utf_8", "replace")
    spoilt = text.count("\ufffd")
    if spoilt == 0:
        return storable(text)
    # Each sound sequence is one character of two to four octets above 127.
    high = len(octets) - len(octets.translate(None, _HIGH_OCTETS))
    if high > 3 * spoilt:
        return storable(text)
    return storable(_decode_cp1252(octets))


_HIGH_OCTETS = bytes(range(128, 256))


def _decode_mislabelled(octets: bytes, codec: str) -> str:
    """Text that its own codec refuses: UTF-8 if it is that, else with marks of loss."""
    if not octets.isascii():
        text = _strictly(octets, "utf_8")
        if text is not None:
            return storable(text)
    if codec == "utf_16":
        codec = "utf_16_be" if octets[:2] == codecs.BOM_UTF16_BE else "utf_16_le"
    return storable(octets.decode(codec, "replace"))
