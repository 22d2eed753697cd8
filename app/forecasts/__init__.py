"""How long it usually takes, told before a report is sent."""
