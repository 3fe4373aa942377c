"""Results of a study as pages, figures and tables show them."""
