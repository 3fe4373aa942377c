"""Figures, tables, the study report and the frozen protocol as files for publication.

Captions are written where the numbers are: the caption of a figure in the function that plots it
(`figures/`), the note of a table in the function that builds it (`tables/`), and the sentences that
every caption ends with in `base.caption_suffix`.
"""
