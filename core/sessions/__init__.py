"""Server-side sessions of annotators, auditors and readers: what each may ask for, with one-time tokens."""
