"""IMAP as text: what clients write read into values, what we answer rendered.

RFC 9051 (IMAP4rev2) and RFC 3501 (IMAP4rev1), with their extensions, as far as they are
syntax::

    scanner   octets → atoms, strings, literals, numbers     names    mailbox names
    sets      sequence sets and saved results                render   values → octets
    fetch     FETCH's items        search   SEARCH's keys    listing  LIST's patterns
    commands  one value a command  parse    a whole command → its value

A command comes in one piece, its literals in place. Everything here is bounded by the
length of that piece, and takes time in proportion to it.
"""
