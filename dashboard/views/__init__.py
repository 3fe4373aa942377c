"""Parts of the team pages that are too large for the page's own file; a function renders a part."""
