"""Agreement of annotators, label audits, association of units with descriptors."""
