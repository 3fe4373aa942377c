"""The tables of reading studies: protocols with their states, cases, orders, answers, bundles."""
