"""The IMAP server: the same inbox in a mail client (RFC 9051, RFC 3501).

reader        octets → lines and literals     view       one session's selected mailbox
conversation  one command after another       factory    who may connect, and log in
entering      before and around login         mail       the use cases behind it
folders       mailboxes by name               selected   a mailbox that is open
fetching      FETCH, streamed                 appending  APPEND, spooled
"""
