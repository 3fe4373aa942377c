"""Parts of a reading session: steps of a case, advice, the order of a crossover."""
