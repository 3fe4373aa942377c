"""Speed of the product relative to reference implementations measured in the same run."""
