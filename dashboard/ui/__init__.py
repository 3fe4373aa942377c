"""Elements, charts, theme and cached queries that pages share."""
