"""Reading studies with advice: cases and arms, leakage checks, reliance on the advice."""
