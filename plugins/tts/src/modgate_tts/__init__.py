"""Speech synthesis for modgate."""
