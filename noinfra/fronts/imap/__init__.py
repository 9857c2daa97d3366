"""The IMAP server: the same inbox in a mail client (RFC 9051, RFC 3501).

A session is a chain of classes, each with the commands of one chapter::

    conversation  one command after another, over a connection
    entering      before login, and at any time
    folders       mailboxes by name
    selected      a mailbox that is open, and its news
    changing      flags, expunging, copying
    searching     SEARCH, SORT, THREAD
    fetching      FETCH, streamed
    appending     APPEND, spooled: the whole session

Beside it, reader (octets → lines and literals), view (sequence numbers), rows (what
FETCH answers), deflate, answers, refusals, maillog; factory, which says who may
connect; and mail, what all this asks of the use cases.
"""
