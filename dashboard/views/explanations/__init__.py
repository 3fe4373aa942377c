"""Parts of the Explanations page."""
