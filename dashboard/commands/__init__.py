"""The commands of `deepminer`, one module a subject; `dashboard.cli` combines them.

Modules of this package import at the top only what the command line itself needs: pandas, torch and
the like would delay `deepminer --help` by seconds. Each command imports its work when it runs.
"""
