"""Parts of the Annotations page."""
