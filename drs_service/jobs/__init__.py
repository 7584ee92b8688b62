"""The kinds of work, born in the caller's transaction, and the runner that claims them.

PgQueuer keeps the queue. What is ours: the kinds and their payloads (`kinds`), and how it is run (`running`).
"""
