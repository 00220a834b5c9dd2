"""Definition texts to plain values with places, and the findings about them: what all front ends read with."""
