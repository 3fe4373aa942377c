"""Reading studies with advice: fields of the design, and reliance among the results."""
