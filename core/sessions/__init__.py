"""Server-side sessions of annotators, auditors and readers, with one-time tokens.

A session object answers what one expert's page may request. It holds no state of its own: every
call reads the store, so that two windows, a restart and a second device agree.
"""
