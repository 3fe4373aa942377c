"""Embeddings of patches and words by vision-language models, for machine names."""
