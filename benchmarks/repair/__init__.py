"""Repair of one buggy function, by the loop and by one-shot prompting of the same model."""
