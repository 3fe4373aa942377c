"""Speed of the product over bare references measured in the same run: `make bench`."""
