"""The mail server for AI agents: one Twisted daemon on PostgreSQL.

Five packages, one direction::

    errors model boundaries config  <-  mail  <-  store  <-  app  <-  fronts
                    boundaries mail <-  net            service imports all

``mail``
    What the bytes mean: pure functions and values, where the RFCs live.
``store``
    What we remember: the only SQL, over PostgreSQL, and the server's own PostgreSQL.
``app``
    What we do: use cases, one method for each thing that a caller can ask.
``fronts``
    How one asks us: SMTP in and submission, IMAP, REST and its dialects, WebSocket,
    server-sent events.
``net``
    How we reach others: DNS, outbound SMTP.
``service``
    Builds it all, top to bottom. Only the plugin and the command line import it.

The life of a message in: ``fronts.smtp`` asks ``app.receive`` at RCPT whether the
address is ours, hands it the octets at DATA, and answers 250 once ``store.filing`` has
committed the content, its place in a folder and a thread, and its event, together.

The life of a message out: ``app.send`` composes and signs it, files it in Sent with one
delivery a recipient, and commits; ``app.deliver`` claims what is due, by destination,
or while it keeps up takes what is sent here from memory, hands it to ``net.relay`` (or
back to ``app.receive`` when the recipient is ours), and settles what became of it, with
its event, in one transaction.

A transaction never waits for the network, nothing is kept at module level, and the
reactor is passed in.
"""
