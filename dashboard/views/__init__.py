"""Parts of the Reading study page, one file a stage: design, lint and freeze, results, replay."""
