"""The command line's commands, a file per subject; `dashboard.cli` puts them together."""
