"""Runs quantised models. Knows no agent, no tool and no terminal."""
