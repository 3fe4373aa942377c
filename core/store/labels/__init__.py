"""What people decided about labels: the categories that they confirmed for free text."""
