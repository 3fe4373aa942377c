"""Agreement of experts, label audits, and associations of units with descriptors."""
